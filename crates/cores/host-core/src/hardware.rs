//! What a machine has, beside what a zone wants.

use warp_protocol::hosting::HostHardware;
use warp_protocol::zone::ZoneFile;

/// The least that a zone wants of its hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minimums {
    /// Cores.
    pub cpu_cores: u32,
    /// MHz.
    pub cpu_frequency_mhz: u32,
    /// MiB.
    pub memory_mb: u32,
    /// Mbit/s of upload.
    pub network_speed_mbps: u32,
}

impl Minimums {
    /// Those of a zone. It names the upload only; of the rest there has to be some.
    pub fn of(zone: &ZoneFile) -> Self {
        Self {
            cpu_cores: 1,
            cpu_frequency_mhz: 1,
            memory_mb: 1,
            network_speed_mbps: zone.min_bandwidth_mbps.max(1),
        }
    }

    /// What `hardware` has too little of; empty: it will do.
    pub fn lacks(&self, hardware: &HostHardware) -> Vec<Lack> {
        let pairs = [
            (Resource::CpuCores, hardware.cpu_cores, self.cpu_cores),
            (
                Resource::CpuFrequency,
                hardware.cpu_frequency_mhz,
                self.cpu_frequency_mhz,
            ),
            (Resource::Memory, hardware.memory_mb, self.memory_mb),
            (
                Resource::Upload,
                hardware.network_speed_mbps,
                self.network_speed_mbps,
            ),
        ];
        let lack = |(resource, has, wanted)| Lack {
            resource,
            has,
            wanted,
        };
        let too_little = pairs.into_iter().filter(|(_, has, wanted)| has < wanted);
        too_little.map(lack).collect()
    }
}

/// Something that a machine has more or less of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Cores.
    CpuCores,
    /// MHz.
    CpuFrequency,
    /// MiB.
    Memory,
    /// Mbit/s.
    Upload,
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CpuCores => "CPU cores",
            Self::CpuFrequency => "MHz of CPU",
            Self::Memory => "MiB of memory",
            Self::Upload => "Mbit/s of upload",
        })
    }
}

/// Too little of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{has} {resource} where {wanted} are wanted")]
pub struct Lack {
    /// Of what.
    pub resource: Resource,
    /// What there is.
    pub has: u32,
    /// What is wanted.
    pub wanted: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_that_is_missing_is_named() {
        let wanted = Minimums {
            cpu_cores: 2,
            cpu_frequency_mhz: 1000,
            memory_mb: 512,
            network_speed_mbps: 10,
        };
        let enough = HostHardware {
            cpu_cores: 2,
            cpu_frequency_mhz: 1000,
            memory_mb: 512,
            network_speed_mbps: 10,
        };
        assert!(wanted.lacks(&enough).is_empty());
        let weak = HostHardware {
            cpu_cores: 1,
            network_speed_mbps: 9,
            ..enough
        };
        let told: Vec<String> = wanted.lacks(&weak).iter().map(Lack::to_string).collect();
        let expected = [
            "1 CPU cores where 2 are wanted",
            "9 Mbit/s of upload where 10 are wanted",
        ];
        assert_eq!(told, expected);
    }
}
