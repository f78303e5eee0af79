// Package cache is what the resolver knows: answers, "no" and failures, with the
// time for which each counts, packed into a bounded number of bytes.
//
// # What is stored, and where
//
// An entry is a record of bytes (record.go): who it is about, how long it counts,
// who said so, and its DNS records as they go into a message. Records stand one
// after the other in chunks of 32 KiB (queue.go), and a fixed table of slots finds
// them (shard.go). All of it lies in memory that the garbage collector neither
// walks nor counts (memory_linux.go), so that 100,000 names cost what they weigh
// and no pause. Nothing grows: what the cache may take in all is set aside by
// [New], and becomes resident as it is used.
//
// Shards have a lock each, for reading and for writing. All types of a name are in
// one shard.
//
// # What goes when the cache is full
//
// S3-FIFO: J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi, "FIFO Queues Are All
// You Need for Cache Eviction", SOSP 2023. What is new stands in a small queue, a
// tenth of the memory, and is forgotten at its end unless it was asked for again;
// then it moves to the main queue, where it stays for another round each time that
// it was asked for since the last. A flood of names that are asked for once
// passes through the small queue alone. Names that left the small queue are
// remembered by a hash (the "ghosts"): one that comes back goes to the main queue.
//
// SIEVE (NSDI 2024) is simpler, but lets a scan pass through the whole memory
// before it is gone, and S3-FIFO's queues only ever add at one end and take away
// at the other: that makes them logs, without a list node or free space to manage.
// Memory is reused a chunk at a time: what of the oldest one is to stay is copied.
//
// # What it answers
//
// [Cache.AnswerFast] puts an answer into a message without allocation; what it
// leaves to the general way is stale, unknown, too long, or complicated (DNAME).
// [Cache.Get] is the general way.
//
// # What it does not do
//
// It asks nobody, and it starts no goroutine. It does not judge what may be
// believed: that is done before it is put here (package iterate), and comes as a
// [Rank].
package cache
