// Package bench measures the cloud: as a whole here (cmd/figures), and each
// part beside its peers as that part gets its own bench target. What it prints
// is recorded, with the machine, in docs/benchmarks.md; nothing in it is a test,
// and no test measures time.
package bench
