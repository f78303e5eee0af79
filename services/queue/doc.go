// Package queue is the cloud's message queue: at-least-once delivery with a
// visibility timeout and dead letters, durable on Pebble, behind an HTTP door.
//
// # The path of a message
//
// POST /enqueue ([door]) becomes [Store.Enqueue], which writes the message in
// one batch and answers when the batch is on stable storage; concurrent writers
// share an fsync. POST /receive becomes [Store.Receive], which takes the
// messages that are visible, in the order of the time since when they are, and
// gives each a new receipt and a deadline. POST /ack becomes [Store.Ack], which
// deletes the message, durably, if the receipt is that of its latest delivery.
//
// # What is on disk
//
// Three keys for each message, always written and deleted together (record.go):
// its payload, which is never rewritten; its state, by id; and an index entry
// that sorts by the time from which the message is visible. To receive is to
// move the index entry to the deadline, so that a visibility timeout that runs
// out needs no write: the message is simply visible again. What memory holds of
// a queue is its size and the deadlines of its messages in flight, both read
// back from the states when the store is opened.
//
// # Invariants
//
//   - What Enqueue returned survives a power cut. What Ack returned for does
//     not come back after one.
//   - A delivery is written without waiting for the disk. A power cut may forget
//     it: the message is then visible at once and its count of receives is as
//     before. Delivery is at least once either way, and to wait would add an
//     fsync to each receive.
//   - A message may be received before its enqueue is on disk. After a power cut
//     in that moment it is gone, and its producer was never told otherwise.
//   - At most one receipt of a message acknowledges it: that of its latest
//     delivery, even after the timeout, until the message is delivered again.
//   - A message received max_receives times moves to "<queue>.dead" when the
//     timeout of its last delivery runs out. Nothing moves out of a dead-letter
//     queue by itself.
//   - Visible messages are taken in the order in which they became visible, and
//     long polls are served in the order in which they came.
//   - Time within the store never runs backwards, whatever the wall clock does:
//     it follows the monotonic clock, and starts no earlier than the newest
//     message that it finds.
//
// # When the disk fails
//
// Pebble cannot go on after a failed write of its log or manifest, and neither
// can its caller, who does not know what is on disk (package engine of kit). The store then
// refuses everything with 503, acknowledges nothing more, and says so through
// health until the service is started again, which recovers from the log. A
// disk that is merely getting full is refused earlier: below min_free bytes an
// enqueue is answered 507, while receive and ack, which make space, go on.
//
// # Who owns each goroutine
//
// [Server.Serve] opens the store, and at its end closes it; Pebble's own
// goroutines live between the two. Each commit runs on a goroutine of its own,
// so that a Pebble that never comes back leaves no request hanging. Each queue
// has a timer for its next deadline; [Store.Close] joins those.
//
// # What it does not do
//
// No delayed messages, no priorities, no ordered groups, no deduplication, no
// authentication. It runs on one machine; replication is another engine's work.
// The SQS protocol is a second door on [Store].
package queue
