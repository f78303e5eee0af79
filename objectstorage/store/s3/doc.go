// Package s3 is the driver of package store over any S3 service, for those who
// outgrow one machine: AWS, Ceph, SeaweedFS, or another minicloud.
//
// A call becomes one or a few requests, which [Store] signs and sends with the
// AWS SDK. A body that is written is first spooled, in memory or in a temporary
// file, so that it can be sent again when an answer is lost; one that is read is
// a stream, which continues with a ranged request where a connection breaks and
// where the reader seeks. The driver starts no goroutine that outlives a call,
// and reads nothing from the environment or from ~/.aws.
//
// # What acknowledged means
//
// A nil error means that the service said so. Whether that survives a power cut
// is the service's promise; not every one makes it.
//
// # Conditions
//
// Every commit asks for the object of the key first (HEAD), because S3's answer to
// a PUT does not say whether the key is new, and decides the whole
// [store.Condition] on it. A write with a condition then carries If-None-Match: *
// where there was no object and If-Match with the ETag where there was one, so that
// the service refuses it if the object has become another one meanwhile; then it
// is decided anew. What this makes of atomicity is up to the service:
//
//   - AWS, Ceph from Squid on, MinIO, SeaweedFS from 3.97 on and minicloud decide
//     both headers of a PUT, and of a multipart upload's completion, as one step
//     with the write. A service that ignores them leaves a gap between HEAD and
//     PUT in which the last writer wins.
//   - If-Match says the content, not the write. An object that is replaced by one
//     of the same content between HEAD and PUT is not noticed; that matters to
//     UnmodifiedSince and Modified alone.
//   - A conditional deletion carries If-Match too, which AWS and minicloud decide
//     as one step, and others ignore. A deletion that wants the key absent has
//     nothing to carry, and one by version is decided before it is sent, which is
//     safe as versions do not change, the one named null excepted.
//
// A write with a condition is sent again only where it certainly did not happen
// (no connection, 503, 429, 409 ConditionalRequestConflict): after a lost answer, a
// second try would be refused because of the first. The caller gets the error and
// has to look. Other writes are repeated as the SDK does it; on a bucket with
// versions that can leave the same body twice.
//
// # What S3 cannot say, and what becomes of it
//
//   - Objects over 5 GiB are uploaded in parts; the ETag is then that of an upload
//     in parts, and not the one that [store.Upload] told.
//   - A body that is seeked, or resumed, after its object was replaced in a bucket
//     without versions is gone: reading fails. It never goes on with other bytes.
//   - Update changes tags in place. Other attributes are changed by copying the
//     object onto itself, which changes Modified, and is refused
//     ([errors.ErrUnsupported]) where it would make another version or ETag.
//     Within one process, updates of a key are one after the other; between
//     processes, tags have no condition that could be checked.
//   - List knows neither the ContentType nor the value of a checksum, nor, in a
//     bucket that was ever versioned, the version. GetMultipart knows of the attributes only storage class and
//     checksum; the service keeps the others from CreateMultipart to the end, and
//     CompleteMultipart cannot change them, the checksum's value excepted.
//   - The parts of an object (Info.Parts) come from GetObjectAttributes, which
//     tells neither their ETags nor their times, and on AWS only lists those of
//     uploads with checksums.
//   - An object that is written without a ContentType has the service's default.
//   - Times of modification are whole seconds.
//   - That a version is locked is the service's to decide, by its clock. It says no
//     more than AccessDenied, which is taken for [store.ErrLocked] where HEAD showed
//     the lock.
//
// # Buckets
//
// Documents are the service's own subresources, by the names in [Documents]; any
// other name is refused. A document comes back as the service writes it. A bucket
// policy is thereby a real one of the service: a public bucket here is a public
// bucket there. [store.Bucket]'s Anonymous is not known to S3; it is kept as the
// bucket tag [AnonymousTag], which Documents do not show. UpdateBucket is one step
// for the callers of one Store, but several requests to the service: an error can
// leave some of the changes made, and between processes the last one wins. What
// GetBucket returns may be [Options.Fresh] old where another process changed it.
//
// # Cost
//
// Get and Head are one request, and one more each for tags, for parts, and for a
// version that is asked for by its name. A commit is three (HEAD, PUT, and HEAD to
// learn when the service says that it was), a deletion two.
package s3
