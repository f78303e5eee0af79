// Package minicloud is the whole cloud on one machine.
//
// [Start] composes it in one process: it reads every file, then binds every
// socket (so that a wrong file or a port in use is one error, before anything
// runs), enters the real addresses into a host table under the names of the
// picture ("http-api-1:8001"), builds each service from the same file that its
// container would read, and starts them: name servers and stores, then the API,
// then the load balancer. Nothing else is different from the containers: the
// services speak through real sockets on loopback, and only the dialer that they
// were handed knows the table. [Cloud.StopPart] and [Cloud.StartPart] take one
// service away and bring it back, as `docker stop` does.
//
// [Main] is the command: `up` (here, or with -d in the background, or with
// -mode docker as containers), `down`, `status`, `logs`, `clean`. A background
// process holds a lock on .minicloud/lock for as long as it lives, and the
// kernel names the holder: no other process is ever signalled.
//
// Goroutines: one per part and one per admin listener, all joined by
// [Cloud.Close]. The channel [Cloud.Failed] delivers the first failure of a
// part; the command ends the whole with it.
//
// Where things are: cloud.go and services.go compose, local.go is the background
// process, compose.go and docker.go the containers, cli.go the commands.
package minicloud
