//! What this machine has, as the system tells it.

use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, RefreshKind,
    System,
};
use warp_protocol::hosting::HostHardware;

/// Cores, their clock and memory by the system; the upload is the owner's word. What the system does not
/// tell is told as 1, the least that may be.
pub fn read_hardware(upload_mbps: u32) -> HostHardware {
    let what = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing().with_frequency())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(what);
    let cpus = system.cpus();
    let fastest = cpus.iter().map(sysinfo::Cpu::frequency).max();
    let within = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    HostHardware {
        cpu_cores: within(cpus.len() as u64),
        cpu_frequency_mhz: within(fastest.unwrap_or(0)),
        memory_mb: within(system.total_memory() / (1024 * 1024)),
        network_speed_mbps: upload_mbps.max(1),
    }
}

/// Processor time of this program.
pub(crate) struct OwnCpu {
    system: System,
    pid: Option<Pid>,
    looked: bool,
}

impl OwnCpu {
    pub(crate) fn new() -> Self {
        Self {
            system: System::new(),
            pid: sysinfo::get_current_pid().ok(),
            looked: false,
        }
    }

    /// Percent of one core since the last call; `None` the first time, and where the system does not
    /// tell.
    pub(crate) fn percent(&mut self) -> Option<f64> {
        let pid = self.pid?;
        let what = ProcessRefreshKind::nothing().with_cpu();
        let ours = [pid];
        let update = ProcessesToUpdate::Some(&ours);
        self.system.refresh_processes_specifics(update, false, what);
        let used = f64::from(self.system.process(pid)?.cpu_usage());
        std::mem::replace(&mut self.looked, true).then_some(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_something_of_everything() {
        let hardware = read_hardware(7);
        assert!(hardware.cpu_cores >= 1 && hardware.cpu_frequency_mhz >= 1);
        assert!(hardware.memory_mb > 16, "{hardware:?}");
        assert_eq!(hardware.network_speed_mbps, 7);
    }
}
