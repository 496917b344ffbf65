//! The text of a clientinfo file.
//!
//! A Ragnarok client that is started with `/account:NAME` reads NAME instead of its
//! `clientinfo.xml`: elements without attributes, a `<connection>` for each server, in it
//! `<address>` and `<port>` of the login server. Clients read it byte by byte in their own code
//! page, so a template is changed at exactly these two places and nowhere else.

use std::net::SocketAddr;
use std::ops::Range;

use quick_xml::events::Event;
use quick_xml::reader::Reader;
use warp_engine_core::config::ClientInfoSection;

/// Stands in every file that we write, for whoever looks into it.
const MARKER: &str =
    "<!-- Written by Warp Launcher for one session; removed when the game ends. -->";

/// Why a template cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    /// It is not XML.
    #[error("not well-formed XML at byte {at}: {what}")]
    Xml {
        /// Offset in bytes.
        at: u64,
        /// The parser's words.
        what: String,
    },
    /// It has no server in it.
    #[error("there is no <connection> in its outermost element")]
    NoConnection,
    /// A server has no address to replace.
    #[error("the <connection> that ends at byte {at} has no <address>")]
    NoAddress {
        /// Offset in bytes.
        at: usize,
    },
}

/// A file with one connection.
pub(super) fn fresh(section: &ClientInfoSection, login: SocketAddr) -> Vec<u8> {
    let ClientInfoSection {
        servicetype,
        servertype,
        display,
        version,
        langtype,
        registrationweb,
        ..
    } = section;
    let (address, port) = (login.ip(), login.port());
    format!(
        r#"<?xml version="1.0" encoding="euc-kr" ?>
<clientinfo>
  {MARKER}
  <servicetype>{servicetype}</servicetype>
  <servertype>{servertype}</servertype>
  <connection>
    <display>{display}</display>
    <address>{address}</address>
    <port>{port}</port>
    <version>{version}</version>
    <langtype>{langtype}</langtype>
    <registrationweb>{registrationweb}</registrationweb>
  </connection>
</clientinfo>
"#
    )
    .into_bytes()
}

/// A template may be a file that we wrote.
fn has_marker(file: &[u8]) -> bool {
    let marker = MARKER.as_bytes();
    file.windows(marker.len()).any(|piece| piece == marker)
}

/// One replacement: these bytes become those.
type Edit = (Range<usize>, Vec<u8>);

/// The template with the address and port of every connection replaced, and our mark in it.
pub(super) fn from_template(template: &[u8], login: SocketAddr) -> Result<Vec<u8>, TemplateError> {
    let mut result = template.to_vec();
    // From the end, so that the places of earlier ones stay true.
    for (place, bytes) in edits(template, login)?.into_iter().rev() {
        result.splice(place, bytes);
    }
    Ok(result)
}

/// What has to change, in the order of the file.
fn edits(template: &[u8], login: SocketAddr) -> Result<Vec<Edit>, TemplateError> {
    // The parser is for UTF-8, the file may be in any code page of the region. All of these leave
    // the signs of XML to single bytes below 0x40, so the others may all be any letter: places
    // stay the same.
    let masked: Vec<u8> = template
        .iter()
        .map(|byte| if byte.is_ascii() { *byte } else { b'x' })
        .collect();
    let mut reader = Reader::from_reader(&*masked);
    reader.config_mut().allow_dangling_amp = true;

    let mut edits: Vec<Edit> = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut connection = Connection::default();
    let mut connections = 0_usize;
    loop {
        let before = place(&reader);
        let event = reader.read_event().map_err(|error| TemplateError::Xml {
            at: reader.error_position(),
            what: error.to_string(),
        })?;
        let after = place(&reader);
        match event {
            Event::Start(start) => {
                open.push(start.name().as_ref().to_ascii_lowercase());
                match depth_in_connection(&open) {
                    Some(0) => connection = Connection::default(),
                    Some(1) => connection.inside = after,
                    _ => {}
                }
                if open.len() == 1 && !has_marker(template) {
                    edits.push((after..after, format!("\n  {MARKER}").into_bytes()));
                }
            }
            Event::Empty(start) => {
                let spelled = start.name();
                open.push(spelled.as_ref().to_ascii_lowercase());
                match depth_in_connection(&open) {
                    Some(0) => return Err(TemplateError::NoAddress { at: after }),
                    Some(1) => {
                        if let Some(value) = connection.value(&open, login, after) {
                            let name: &str = spelled.as_ref();
                            let whole = format!("<{name}>{value}</{name}>");
                            edits.push((before..after, whole.into_bytes()));
                        }
                    }
                    _ => {}
                }
                open.pop();
            }
            Event::End(_) => {
                match depth_in_connection(&open) {
                    Some(1) => {
                        if let Some(value) = connection.value(&open, login, after) {
                            edits.push((connection.inside..before, value.into_bytes()));
                        }
                    }
                    Some(0) => {
                        connections += 1;
                        edits.extend(connection.missing_port(login, after)?);
                    }
                    _ => {}
                }
                open.pop();
            }
            Event::Eof if connections == 0 => return Err(TemplateError::NoConnection),
            Event::Eof => {
                // A missing port is noticed after what follows its address.
                edits.sort_by_key(|(place, _)| place.start);
                return Ok(edits);
            }
            _ => {}
        }
    }
}

/// What has been seen of the connection that is open.
#[derive(Default)]
struct Connection {
    /// Where the content of its innermost open child begins.
    inside: usize,
    /// Where its last address ends, with the closing tag.
    address: Option<usize>,
    port: bool,
}

impl Connection {
    /// The new content of the child that ends at `end`; `None`: it stays.
    fn value(&mut self, open: &[String], login: SocketAddr, end: usize) -> Option<String> {
        match open.last().map(String::as_str) {
            Some("address") => {
                self.address = Some(end);
                Some(login.ip().to_string())
            }
            Some("port") => {
                self.port = true;
                Some(login.port().to_string())
            }
            _ => None,
        }
    }

    /// Without a port, clients take 6900, which need not be ours.
    fn missing_port(&self, login: SocketAddr, end: usize) -> Result<Option<Edit>, TemplateError> {
        let address = self.address.ok_or(TemplateError::NoAddress { at: end })?;
        let port = format!("<port>{}</port>", login.port());
        Ok((!self.port).then(|| (address..address, port.into_bytes())))
    }
}

/// 0: the innermost open element is a connection of the root; 1: a child of one.
fn depth_in_connection(open: &[String]) -> Option<usize> {
    let connection = open.get(1)?;
    (connection == "connection").then(|| open.len() - 2)
}

fn place(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn login() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 16900))
    }

    fn replaced(template: &[u8]) -> Vec<u8> {
        from_template(template, login()).unwrap()
    }

    /// A server list as operators have it, in EUC-KR: 서버 is BC AD B9 F6.
    const KOREAN: &[u8] = b"<?xml version=\"1.0\" encoding=\"euc-kr\" ?>\r\n<clientinfo>\r\n\
        <servicetype>korea</servicetype><address>not in a connection</address>\r\n\
        <connection>\r\n<display>\xbc\xad\xb9\xf6 & 1</display>\r\n\
        <balloon><address>not a child of it</address></balloon>\r\n\
        <address>ro.example</address>\r\n<port>6900</port><version>55</version>\r\n\
        <!-- \xbc\xad <port>1</port> --><aid><admin>2000000</admin></aid></connection>\r\n\
        <Connection><Port/><ADDRESS a='b'> 192.0.2.1 </ADDRESS></Connection>\r\n</clientinfo>\r\n";

    #[test]
    fn a_template_keeps_every_other_byte() {
        let marker = format!("<clientinfo>\n  {MARKER}");
        let expected = [
            (&b"<clientinfo>"[..], marker.as_bytes()),
            (b"<address>ro.example<", b"<address>127.0.0.1<"),
            (b"<port>6900<", b"<port>16900<"),
            (b"<Port/>", b"<Port>16900</Port>"),
            (b"> 192.0.2.1 <", b">127.0.0.1<"),
        ]
        .iter()
        .fold(KOREAN.to_vec(), |file, (from, to)| {
            let at = file.windows(from.len()).position(|piece| piece == *from);
            let at = at.unwrap();
            let mut file = file;
            file.splice(at..at + from.len(), to.iter().copied());
            file
        });
        let file = replaced(KOREAN);
        assert_eq!(
            String::from_utf8_lossy(&file),
            String::from_utf8_lossy(&expected)
        );
        assert_eq!(file, expected);
        assert!(has_marker(&file) && !has_marker(KOREAN));
        // What we wrote may be a template again.
        assert_eq!(replaced(&file), file);
    }

    #[test]
    fn a_connection_without_a_port_gets_one() {
        let file = replaced(b"<c><connection><address/><version>1</version></connection></c>");
        let expected = format!(
            "<c>\n  {MARKER}<connection><address>127.0.0.1</address><port>16900</port>\
             <version>1</version></connection></c>"
        );
        assert_eq!(String::from_utf8_lossy(&file), expected);
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_place() {
        let error = |text: &[u8]| from_template(text, login()).unwrap_err();
        assert_eq!(error(b""), TemplateError::NoConnection);
        assert_eq!(
            error(b"<clientinfo></clientinfo>"),
            TemplateError::NoConnection
        );
        assert_eq!(error(b"\xff\xfe<\0c\0>\0"), TemplateError::NoConnection);
        let lonely = b"<c><connection><port>1</port></connection></c>";
        let at = lonely.len() - "</c>".len();
        assert_eq!(error(lonely), TemplateError::NoAddress { at });
        assert!(matches!(
            error(b"<c><connection/></c>"),
            TemplateError::NoAddress { .. }
        ));
        assert!(matches!(
            error(b"<c><connection></c>"),
            TemplateError::Xml { .. }
        ));
    }

    #[test]
    fn a_fresh_file_says_what_the_section_says() {
        let section = ClientInfoSection {
            display: "My server".into(),
            version: 30,
            ..ClientInfoSection::default()
        };
        let file = fresh(&section, login());
        assert!(has_marker(&file) && file.is_ascii());
        // Nothing is left to replace: all is in its place.
        assert_eq!(replaced(&file), file);
        let text = String::from_utf8(file).unwrap();
        for part in [
            "<display>My server</display>",
            "<address>127.0.0.1</address>",
            "<port>16900</port>",
            "<version>30</version>",
        ] {
            assert!(text.contains(part), "{part}");
        }
    }

    /// Pieces of which templates are made, whole ones and broken ones.
    fn piece() -> impl Strategy<Value = &'static [u8]> {
        prop::sample::select(vec![
            &b"<clientinfo>"[..],
            b"</clientinfo>",
            b"<connection>",
            b"</connection>",
            b"<address>",
            b"</address>",
            b"<Address/>",
            b"<port>",
            b"</port>",
            b"<port/>",
            b"<aid>",
            b"</aid>",
            b"6900",
            b"\xbc\xad \xff&",
            b"<!-- a -->",
            b"<![CDATA[<port>]]>",
            b"<?xml version=\"1.0\"?>",
            b"<",
            b"\r\n",
        ])
    }

    proptest! {
        /// Whatever is in a template: it is refused, or replacing once more changes nothing, and
        /// going to another address and back neither.
        #[test]
        fn any_template_is_refused_or_replaced_for_good(
            pieces in prop::collection::vec(piece(), 0..24),
            whole in any::<bool>(),
        ) {
            let mut template = pieces.concat();
            if whole {
                let (before, after) = (&b"<c><connection>"[..], &b"</connection></c>"[..]);
                template = [before, b"<address>", &template, b"</address>", after].concat();
            }
            if let Ok(file) = from_template(&template, login()) {
                prop_assert!(has_marker(&file));
                let again = from_template(&file, login());
                prop_assert_eq!(again.as_deref(), Ok(&*file));
                let other = SocketAddr::from(([127, 0, 0, 1], 1));
                let moved = from_template(&file, other).unwrap();
                prop_assert_eq!(from_template(&moved, login()), Ok(file));
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = from_template(&bytes, login());
        }
    }
}
