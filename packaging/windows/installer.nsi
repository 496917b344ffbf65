; The installer: for one person, without elevation. `cargo xtask windows --installer` gives
;   VERSION   version of the launcher     NUMBERS   its numbers alone
;   INSTALL   lines that put files there  REMOVE    lines that remove them
;   ICON      of installer and uninstaller   OUT    the installer
;   SIGN      program that signs the uninstaller, if there is one
;
; Installer:   /S silent   /P the same, from the launcher's updater   /R start the launcher afterwards
;              /ARGS what the launcher is started with then: all that follows
; Uninstaller: /S silent   /REMOVE_SETTINGS remove settings too (without /S it asks)
; Exit codes of the installer: 0 installed, 1 cancelled, 2 a program of it runs and could not be ended

Target amd64-unicode
Unicode true
ManifestDPIAware true
RequestExecutionLevel user
SetCompressor /SOLID lzma
; The files' dates are the build's, and would make every installer another one.
SetDateSave off

!include MUI2.nsh
!include LogicLib.nsh
!include FileFunc.nsh

!define NAME "Warp Launcher"
!define PROGRAM "warp-launcher.exe"
!define UNINSTALL "Software\Microsoft\Windows\CurrentVersion\Uninstall\${NAME}"
!define LINK "Software\Classes\warp"
; As in tauri.conf.json: where the launcher keeps what it keeps.
!define DATA "io.warplauncher.desktop"
; Who notifications are from.
!define NOTIFIER "Software\Classes\AppUserModelId\${DATA}"
!define WEBVIEW2 "Microsoft\EdgeUpdate\Clients\{F3017226-FE2A-4295-8BDF-00C3A9A7E4C5}"
; Microsoft's small installer of it, which fetches the rest.
!define WEBVIEW2_SETUP "https://go.microsoft.com/fwlink/p/?LinkId=2124703"

Name "${NAME}"
OutFile "${OUT}"
!ifdef SIGN
  !uninstfinalize '"${SIGN}" "%1"' = 0
!endif
InstallDir "$LOCALAPPDATA\Programs\${NAME}"
InstallDirRegKey HKCU "${UNINSTALL}" "InstallLocation"
VIProductVersion "${NUMBERS}.0"
VIAddVersionKey "ProductName" "${NAME}"
VIAddVersionKey "FileDescription" "${NAME} Setup"
VIAddVersionKey "FileVersion" "${VERSION}"
VIAddVersionKey "ProductVersion" "${VERSION}"
VIAddVersionKey "LegalCopyright" "MIT or Apache-2.0"

!define MUI_ICON "${ICON}"
!define MUI_UNICON "${ICON}"
!define MUI_ABORTWARNING
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_INSTFILES
!define MUI_FINISHPAGE_RUN "$INSTDIR\${PROGRAM}"
!insertmacro MUI_PAGE_FINISH
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE "English"

Var Start
Var Arguments
Var Settings

; Waits until $R0 can be written to: a program that runs cannot. $R1: 1 when it can.
!macro WAIT_FREE UN
Function ${UN}WaitFree
  StrCpy $R1 0
  ${For} $R2 1 10
    ${IfNot} ${FileExists} "$R0"
      StrCpy $R1 1
      Return
    ${EndIf}
    ClearErrors
    FileOpen $R3 "$R0" a
    ${IfNot} ${Errors}
      FileClose $R3
      StrCpy $R1 1
      Return
    ${EndIf}
    Sleep 300
  ${Next}
FunctionEnd

; Has the program $R5 end before its file is replaced or removed.
Function ${UN}EndOne
  again:
  StrCpy $R0 "$INSTDIR\$R5"
  Call ${UN}WaitFree
  ${If} $R1 == 1
    Return
  ${EndIf}
  MessageBox MB_OKCANCEL|MB_ICONEXCLAMATION \
    "${NAME} is running ($R5). A game that it has started ends with it.$\r$\n$\r$\nEnd it now?" \
    /SD IDOK IDOK end
  SetErrorLevel 1
  Abort
  end:
  ; Games end with it: they are in its job.
  ; By its whole name: a folder of downloads is looked into first.
  nsExec::Exec '"$SYSDIR\taskkill.exe" /F /IM $R5'
  Pop $R4
  Call ${UN}WaitFree
  ${If} $R1 == 1
    Return
  ${EndIf}
  MessageBox MB_RETRYCANCEL|MB_ICONSTOP \
    "${NAME} is still running ($R5) and could not be ended. End it, then try again." \
    /SD IDCANCEL IDRETRY again
  SetErrorLevel 2
  Quit
FunctionEnd

; The launcher first: what it has started ends with it.
Function ${UN}EndRunning
  StrCpy $R5 "${PROGRAM}"
  Call ${UN}EndOne
  StrCpy $R5 "warp-node.exe"
  Call ${UN}EndOne
  StrCpy $R5 "warp-practice.exe"
  Call ${UN}EndOne
FunctionEnd
!macroend
!insertmacro WAIT_FREE ""
!insertmacro WAIT_FREE "un."

Function .onInit
  SetRegView 64
  ${GetParameters} $R0
  ClearErrors
  ${GetOptions} $R0 "/P" $R1
  ${IfNot} ${Errors}
    SetSilent silent
  ${EndIf}
  StrCpy $Start 0
  ClearErrors
  ${GetOptions} $R0 "/R" $R1
  ${IfNot} ${Errors}
    StrCpy $Start 1
  ${EndIf}
  ; As it stands there: FileFunc would take quotes off.
  StrCpy $Arguments ""
  StrCpy $R2 0
  ${Do}
    StrCpy $R3 $R0 7 $R2
    ${If} $R3 == ""
      ${ExitDo}
    ${EndIf}
    ${If} $R3 == " /ARGS "
      IntOp $R2 $R2 + 7
      StrCpy $Arguments $R0 "" $R2
      ${ExitDo}
    ${EndIf}
    IntOp $R2 $R2 + 1
  ${Loop}
FunctionEnd

Section
  Call EndRunning
  SetOutPath "$INSTDIR"
  !include "${INSTALL}"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  CreateShortcut "$SMPROGRAMS\${NAME}.lnk" "$INSTDIR\${PROGRAM}"

  WriteRegStr HKCU "${LINK}" "" "URL:${NAME}"
  WriteRegStr HKCU "${LINK}" "URL Protocol" ""
  WriteRegStr HKCU "${LINK}\DefaultIcon" "" "$INSTDIR\${PROGRAM},0"
  WriteRegStr HKCU "${LINK}\shell\open\command" "" '"$INSTDIR\${PROGRAM}" "%1"'

  WriteRegStr HKCU "${NOTIFIER}" "DisplayName" "${NAME}"
  WriteRegStr HKCU "${NOTIFIER}" "IconUri" "$INSTDIR\${PROGRAM}"

  WriteRegStr HKCU "${UNINSTALL}" "DisplayName" "${NAME}"
  WriteRegStr HKCU "${UNINSTALL}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKCU "${UNINSTALL}" "DisplayIcon" "$INSTDIR\${PROGRAM},0"
  WriteRegStr HKCU "${UNINSTALL}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKCU "${UNINSTALL}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKCU "${UNINSTALL}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD HKCU "${UNINSTALL}" "NoModify" 1
  WriteRegDWORD HKCU "${UNINSTALL}" "NoRepair" 1
  ${GetSize} "$INSTDIR" "/S=0K" $R0 $R1 $R2
  WriteRegDWORD HKCU "${UNINSTALL}" "EstimatedSize" $R0
SectionEnd

; The launcher draws with WebView2, which Windows 11 has and Windows 10 nearly always.
Section
  ReadRegStr $R0 HKLM "SOFTWARE\WOW6432Node\${WEBVIEW2}" "pv"
  ReadRegStr $R1 HKCU "Software\${WEBVIEW2}" "pv"
  ; Removed again, it says so with a version of zeros.
  ${If} $R0 == "0.0.0.0"
    StrCpy $R0 ""
  ${EndIf}
  ${If} $R1 == "0.0.0.0"
    StrCpy $R1 ""
  ${EndIf}
  ${If} "$R0$R1" == ""
    DetailPrint "Microsoft's WebView2 runtime is missing"
    MessageBox MB_YESNO|MB_ICONINFORMATION \
      "${NAME} is installed. To show its window it needs Microsoft's WebView2 runtime, which this computer \
does not have.$\r$\n$\r$\nDownload it from Microsoft now? Run what is downloaded, then start ${NAME}." \
      /SD IDNO IDNO without
    ExecShell "open" "${WEBVIEW2_SETUP}"
    without:
  ${EndIf}
SectionEnd

Function .onInstSuccess
  ${If} $Start == 1
    Exec '"$INSTDIR\${PROGRAM}" $Arguments'
  ${EndIf}
FunctionEnd

Function un.onInit
  SetRegView 64
  ${GetParameters} $R0
  StrCpy $Settings 0
  ClearErrors
  ${GetOptions} $R0 "/REMOVE_SETTINGS" $R1
  ${IfNot} ${Errors}
    StrCpy $Settings 1
  ${EndIf}
FunctionEnd

Section "Uninstall"
  Call un.EndRunning
  ${If} $Settings == 0
    MessageBox MB_YESNO|MB_ICONQUESTION|MB_DEFBUTTON2 \
      "Remove your settings, logs and the accounts of your own server too?" /SD IDNO IDNO keep
    StrCpy $Settings 1
    keep:
  ${EndIf}
  !include "${REMOVE}"
  Delete "$INSTDIR\uninstall.exe"
  Delete "$SMPROGRAMS\${NAME}.lnk"
  DeleteRegKey HKCU "${UNINSTALL}"
  DeleteRegKey HKCU "${NOTIFIER}"
  ; The link may lead to another copy meanwhile.
  ReadRegStr $R0 HKCU "${LINK}\shell\open\command" ""
  ${If} $R0 == '"$INSTDIR\${PROGRAM}" "%1"'
    DeleteRegKey HKCU "${LINK}"
  ${EndIf}
  ${If} $Settings == 1
    Delete "$INSTDIR\p2p_config.json"
    Delete "$INSTDIR\server.warp"
    RMDir /r "$APPDATA\${DATA}"
    RMDir /r "$LOCALAPPDATA\${DATA}"
  ${EndIf}
  ; Only when nothing is left in it: what somebody else has put there stays.
  SetOutPath "$TEMP"
  RMDir "$INSTDIR"
SectionEnd
