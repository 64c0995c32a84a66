#!/bin/sh
# Fuzzes one target for some seconds: fuzz/run.sh <frames|messages|sessions|tokens> [seconds]
# Fuzzes and keeps only what reaches something new: fuzz/run.sh <target> [seconds] keep
set -eu
cd "$(dirname "$0")"

target=${1:?frames, messages, sessions or tokens}
seconds=${2:-60}
triple=x86_64-unknown-linux-gnu

# What cargo-fuzz does on a nightly compiler, on the stable one and without sanitizers.
flags='-Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares
  --cfg fuzzing -Cdebug-assertions -Ccodegen-units=1'
RUSTFLAGS=$(echo $flags) nice -n 19 cargo build --release --target "$triple" --jobs "${JOBS:-1}" --bin "$target"
program=target/$triple/release/$target

# What is found along the way stays out of the repository until somebody keeps it.
found=target/found/$target
mkdir -p "$found" "corpus/$target"
nice -n 19 "$program" "$found" "corpus/$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
  -rss_limit_mb=1024 -artifact_prefix=target/

if [ "${3:-}" = keep ]; then
  smallest=target/smallest/$target
  rm -rf "$smallest" && mkdir -p "$smallest"
  # One input for each edge is enough: how often it is taken does not matter here.
  "$program" -set_cover_merge=1 -use_counters=0 "$smallest" "corpus/$target" "$found"
  rm -rf "corpus/$target" && mv "$smallest" "corpus/$target"
fi
