//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"minicloud.internal/bench/internal/proc"
	"minicloud.internal/bench/internal/report"
)

// printMachine writes what the figures depend on.
func (b *bench) printMachine(ctx context.Context, w io.Writer, all findings) {
	fmt.Fprintf(w, "### The machine\n\n- %s\n", proc.Machine())
	fmt.Fprintf(w, "- the data on %s; 4 KB appended and synced (fdatasync) in %s there\n", fileSystem(b.dir), syncTime(b.dir))
	for _, s := range b.servers {
		fmt.Fprintf(w, "- %s: %s\n", s.title, proc.Version(ctx, s.program, s.version))
	}
	fmt.Fprintf(w, "- median of %d rounds of %v; CPU time from the processes' CPU clocks (clock_gettime, nanoseconds)\n", b.rounds, b.duration)
	if b.objects != allObjects {
		fmt.Fprintf(w, "- %s objects INSTEAD OF %s, for which the bars of listing and start are meant\n",
			report.Thousands(float64(b.objects)), report.Thousands(allObjects))
	}
	noisy, rounds := 0, 0
	for _, c := range all.comparisons {
		noisy += c.noisy
		rounds += c.rounds
	}
	fmt.Fprintf(w, "- in %d of %d measurements something else on the machine took more than %.1f cores\n", noisy, rounds, noise)
}

// noise is what the kernel's own threads, which write to the disk, the other
// servers and this program may take, in cores, before a measurement counts as
// disturbed.
const noise = 0.2

// disturbed tells whether something else ran beside a measurement.
func disturbed(l loadResult) bool {
	return (l.Machine - l.Server - l.Generator).Seconds() > noise*l.Elapsed.Seconds()
}

// tmpfs is a file system that keeps nothing on a disk (statfs(2)).
const tmpfs = 0x01021994

// fileSystem names the kind of that of a directory.
func fileSystem(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return err.Error()
	}
	switch uint32(s.Type) {
	case 0xef53:
		return "ext4"
	case 0x58465342:
		return "xfs"
	case 0x9123683e:
		return "btrfs"
	case 0x794c7630:
		return "overlayfs"
	case tmpfs:
		return "tmpfs, WHERE NOTHING IS ON A DISK (-dir takes another directory)"
	}
	return fmt.Sprintf("a file system of type %#x", uint32(s.Type))
}

// syncTime is how long it takes to append a block to a file and to have it on the
// disk.
func syncTime(dir string) string {
	f, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	var took []time.Duration
	block := make([]byte, 4<<10)
	for range 51 {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return err.Error()
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return err.Error()
		}
		took = append(took, time.Since(began))
	}
	return report.Span(median(took))
}
