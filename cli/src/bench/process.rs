//! What this process and others have used so far, as Linux counts it.

use std::fs;

/// Ticks of `/proc/self/stat` in a second: fixed on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time that all threads have used; 0 where it cannot be read.
pub(super) fn processor_seconds() -> f64 {
    processor_seconds_of(std::process::id())
}

/// The same of another process.
pub(super) fn processor_seconds_of(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    processor_ticks(&stat) / TICKS_PER_SECOND
}

fn processor_ticks(stat: &str) -> f64 {
    // The name before it may hold blanks and brackets; its own bracket is the last.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum()
}

/// Seconds of processor time that the whole machine has used; 0 where it cannot be read.
pub(super) fn machine_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    machine_ticks(&stat) / TICKS_PER_SECOND
}

fn machine_ticks(stat: &str) -> f64 {
    const IDLE_AND_WAITING: [usize; 2] = [3, 4];
    // What guests use, from the eighth on, is part of the first two already.
    const COUNTED: usize = 8;
    let fields = stat.lines().find_map(|line| line.strip_prefix("cpu "));
    let ticks = fields.unwrap_or_default().split_whitespace().take(COUNTED).enumerate();
    let used = ticks.filter(|(at, _)| !IDLE_AND_WAITING.contains(at));
    used.filter_map(|(_, ticks)| ticks.parse::<f64>().ok()).sum()
}

/// The most memory that was in use at once since [`forget_peak`], in MiB; 0 where it cannot be read.
pub(super) fn peak_memory_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    peak_kib(&status) / 1024.0
}

fn peak_kib(status: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Starts to look for the peak anew. Where the system does not allow it, the old peak stays.
pub(super) fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_whatever_the_process_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0";
        assert_eq!(processor_ticks(stat), 200.0);
        assert_eq!(processor_ticks(""), 0.0);
    }

    #[test]
    fn the_machine_is_busy_where_it_neither_idles_nor_waits_for_the_disk() {
        let stat = "cpu  10 1 20 1000 500 0 3 4 7 7\ncpu0 1 1 1 1 1\n";
        assert_eq!(machine_ticks(stat), 38.0);
    }

    #[test]
    fn peak_memory_is_found() {
        assert_eq!(peak_kib("Name:\tx\nVmHWM:\t    2048 kB\n"), 2048.0);
        assert!(peak_memory_mib() > 0.0);
    }
}
