// Package disk is the driver of package store that keeps objects in files.
//
// On disk. A data directory holds
//
//	LOCK                held by the process that has the store open (flock)
//	tmp/<random>        uploads that are not committed; emptied at start
//	objects/a/abcd…     one file per object, named by the SHA-256 of its key
//
// A key is hashed before it meets the file system, so no key can leave the
// directory. A file is a header of 4 KiB (key, size, ETag, times, what the
// writer said of the body, a checksum; see header.go) and the body behind it.
// So one rename publishes both together, and a body is one region up to the
// end of its file, which sendfile(2) can send.
//
// A write. Stage creates a file in tmp, leaves room for the header, copies the
// body and hashes it on the way, flushing every 64 MiB so that a large body
// fills neither memory nor the last flush. Commit writes the header, syncs the
// file, and then, holding the key's lock: decides the condition on what the
// disk holds, renames the file into place, syncs the directory, and enters the
// key in the index. Only then does it return. A crash before the rename leaves
// a file in tmp; one after it leaves the new object, whole, unacknowledged.
//
// A read takes the key's lock just to open the file, so it waits for a commit
// under way and never sees what a power cut could take back. From then on it
// reads the version that it opened, whatever becomes of the key.
//
// The index is an ordered tree of all keys in memory, for listings; Open
// rebuilds it from the headers. This costs about 150 bytes and the key per
// object, and a small read per object at start.
//
// Faults. A full disk is store.ErrNoSpace, and nothing older suffers. A failed
// sync of anything stops writes for good (store.ErrStopped): the kernel may
// have dropped the pages and called them clean, so a retry would succeed and
// lie. After a stop that did not go through Close, Open syncs the directories
// again: a rename that the dead process did not live to sync must not be
// answered for before it is durable.
//
// The driver starts no goroutine that outlives a call. It does not check
// bodies against their MD5 (only headers have a checksum that is verified).
package disk
