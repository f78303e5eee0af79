// Package e2e holds the black-box tests of the cloud: one suite, run against
// one process ([minicloud.internal/minicloud.Start]) and against
// docker-compose.yml through testcontainers' compose module. It enters only
// through the doors that a user has: ingressclient, DNS, psql's protocol, the
// published ports and the logs. It also holds the rules of the house that a
// test can hold: who may import whom, and that the Compose file, the
// configuration and the code name the same parts.
package e2e
