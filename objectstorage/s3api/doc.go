// Package s3api is the S3 door of an object store: an [http.Handler] that speaks
// Amazon S3's REST API (version 2006-03-01) over a [store.Store].
//
// # The path of a request
//
// [Handler.ServeHTTP] takes these steps, in S3's order, and the first that fails is
// the answer:
//
//  1. the bucket and the key, of the host (virtual-host style) or the path (path
//     style); request.go
//  2. the operation, of the method, of what the path names and of the subresources in
//     the query; dispatch.go. What the table does not have is NotImplemented and
//     never something else.
//  3. who signed it, if anybody; package sigv4
//  4. whether they may: the bucket exists, is the client's, and its policy, its ACL
//     and its setting for anonymous requests let this pass; authorize.go
//  5. the operation itself, a method of request in the file of its subject
//
// An error becomes S3's XML in one place, writeError; which error of the store is
// which code, in one table, toAPI. A 5xx says nothing of its cause, which is logged
// beside the request's id.
//
// # Accounts
//
// There is one, "minicloud", which owns everything. Who signs with any of its
// credentials may do everything that no policy denies. So ACLs and policies matter
// for requests without a signature, and both are kept and returned as they were set.
// An object has no ACL of its own.
//
// # A page of another site
//
// A browser sends a form, and some other requests, wherever a page tells it to,
// without asking first. Where a bucket is open to anonymous writes by its own setting,
// such a request is refused unless the bucket's CORS rules allow it: this server runs
// on the machine of whoever reads that page. Where a policy or an ACL opens the
// bucket, it is as public as it says, as on S3.
//
// # What it does not do
//
// Encryption, replication, notifications, inventories, analytics,
// websites, storage classes (their names are kept) and accelerated transfer: each is
// answered by 501 NotImplemented. Lifecycles are kept and decided here (expire.go),
// and carried out by the service.
package s3api
