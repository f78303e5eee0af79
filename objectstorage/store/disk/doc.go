// Package disk is the driver of package store that keeps objects in a directory
// of this machine: what is known of them, and small bodies, in a Pebble database,
// and large bodies in files.
//
// # On disk
//
// A data directory holds
//
//	meta/              the database (its rows: keys.go; their values: record.go)
//	meta/RESERVE       space held back for the database (package engine of kit)
//	blobs/xx/<id>      a body above the threshold, or such a part, and nothing else
//
// No key ever becomes a file name. A row that describes a version is a few dozen
// bytes behind a checksum that covers the row's own key; bodies stand in rows of
// their own, so that a listing passes over none. The latest version of each key
// is in one range of rows, in the order of the keys: Get is one look-up, behind a
// Bloom filter, and one of the body; a listing is one iterator that seeks over common prefixes.
// Older versions are in another range, the newest first.
//
// # A write
//
// Stage reads the body. Up to [Options.InlineThreshold] it stays in memory.
// Beyond, it is written to a file that has its final name at once, with an MD5
// and a CRC-32C per MiB taken on the way, and flushed every 64 MiB, so that a
// large body fills neither memory nor the last flush. Commit makes the file
// durable (fdatasync, then an fsync of its directory, which all who wait for one
// share), and then, holding the key's lock: decides the condition, writes all
// rows as one batch, and returns when the batch is durable. Commits of different
// keys share the log's fsync. The batch alone makes the object exist: a crash
// before it leaves a file without rows, an orphan, and one after it the whole
// object, unacknowledged. A completed multipart upload is a list of where its
// parts are; nothing is copied.
//
// Files are not made under a temporary name and renamed, the usual pattern. Since
// no row refers to an unfinished file, a name of its own says as little as a
// temporary one, and the rename would be one more change to the journal of the
// file system for every body.
//
// A version that goes leaves a row 'g' for its file, written in the same batch;
// the collector removes the file later, but not before that batch is durable,
// and not while a body of several parts is open. A body that is one file stays
// readable to whoever has it open, as unlinked files do.
//
// # A read
//
// A read takes the key's lock just to find and open the object, so it waits for a
// commit under way and never gives what a power cut could take back. From then on
// it reads the version that it opened. Listings do not wait: they may show a
// commit a moment before it is durable. Inline bodies are verified on every read.
// A file is verified by its length; its checksums are verified by the scrub,
// since a file is sent by the kernel (sendfile), which does not look at it.
//
// The rows of the latest versions have a cache of their own (recent.go), for a fifth
// of [Options.CacheSize] more. In that of the database they stand among bodies, and gave way to
// them: nearly half of what a GET of 4 KiB cost in the database was finding its record.
// Only rows whose commit is durable are in it, and a commit drops its rows before it
// is visible. Bodies that were read, and those that are staged, are in buffers that
// are used again: a body says nothing any more once it is closed.
//
// # Numbers
//
// One clock (clock.go) gives out everything that needs an identifier: versions,
// uploads and bodies. Its numbers are nanoseconds since 1970, made to grow
// always, also over restarts and a wall clock that was set back.
//
// # Counts
//
// How many objects there are, and bytes, is counted as they change. [Store.Close]
// leaves both in a row, which the next Open takes over and removes; after a crash, or
// where a damaged record was replaced, [Store.Run] counts instead.
//
// # Faults
//
// A full disk is store.ErrNoSpace and a shortage of file descriptors
// store.ErrBusy; nothing older suffers, and writing works again when there is
// room. [Options.MinFree] refuses bodies before the disk is full, since the
// database cannot go on without a byte for its log; if somebody else fills the
// disk all the same, it uses the reserve. A failed sync of anything stops writes
// for good (store.ErrStopped): the kernel may have dropped the pages and called
// them clean, so a retry would succeed and lie. Reads go on, but not of a key
// whose last write nobody knows the end of. Damage is store.ErrCorrupt, logged
// and counted, and what is damaged can be replaced and deleted.
//
// # Who owns each goroutine
//
// [Open] starts those of Pebble, which [Store.Close] ends. [Store.Run] owns the
// count of the objects, the collector, the search for orphans and the scrub, and
// joins them; a store works without, it only keeps its garbage. A commit runs on
// a goroutine of its own, so that a database that broke off leaves no request
// hanging.
//
// Locks are taken in this order: a bucket's, an upload's, a key's; the others are
// leaves.
//
// # What was measured
//
// 2 cores, ext4 on a virtual disk, 32 writers. Bodies of 64 KiB: 1,100 to 1,600
// PUT/s in the database and 400 to 700 in files; of 1 MiB, 97 and 231. Hence the
// threshold of 64 KiB. Separating bodies from the database's tables brings what
// is written per byte from 4.0 to 2.1 (tune.go). An fsync of a directory right
// after the fdatasync of a new file in it takes a tenth of that (ext4 has one
// journal), so doing both at once gains nothing.
package disk
