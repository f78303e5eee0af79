package minicloud

import "net"

// A Part is one service of the cloud, as docker-compose.yml has it too: a test
// holds the two together.
type Part struct {
	// Name is the service's host name inside the cloud.
	Name string
	// Address is where the others reach it inside the cloud, "name:port".
	Address string
	// Config is its file in the directory of configurations.
	Config string
	// Port is where it is published on the host's loopback; 0: it is not.
	Port int
	// Env is the variable that moves Port. Set and empty, it asks for a free one.
	Env string
	// Admin is its admin listener, where that is published on a port of its own.
	Admin AdminPort
	// Speaks is for the table that a user reads.
	Speaks string
	// Image is the binary, and with it the container image, that runs it.
	Image string
	// UDP says that it listens on UDP beside TCP.
	UDP bool
	// Keeps says that it keeps something, in a directory of its name.
	Keeps bool

	kind kind
}

// An AdminPort is an admin listener that is published: of the two parts that
// explain what they decide. The zero value is none.
type AdminPort struct {
	// Port is where it is on the host's loopback.
	Port int
	// Env is the variable that moves Port, as [Part.Env] does.
	Env string
	// Inside is its port inside the cloud.
	Inside string
}

// The load balancer and the resolver are the two parts that a client meets.
const (
	loadBalancer = "load-balancer"
	httpEnv      = "MINICLOUD_HTTP_PORT"
	adminEnv     = "MINICLOUD_LB_ADMIN_PORT"
	resolverName = "dns-resolver"
	resolverEnv  = "MINICLOUD_RESOLVER_PORT"
	resolverPort = "5354" // inside the cloud
)

// A door is one way into a part from the host.
type door struct {
	who    string // as an error names it
	env    string // the variable that moves it
	port   int    // on the host
	inside string // the port inside the cloud
	udp    bool
}

// doors returns how a part is reached from the host.
func (p *Part) doors() (all []door) {
	if p.Env != "" {
		_, inside, _ := net.SplitHostPort(p.Address)
		all = append(all, door{p.Name, p.Env, p.Port, inside, p.UDP})
	}
	if p.Admin.Env != "" {
		all = append(all, door{"the admin listener of " + p.Name, p.Admin.Env, p.Admin.Port, p.Admin.Inside, false})
	}
	return all
}

// PortVariables returns the variables that move published ports.
func PortVariables() (names []string) {
	for _, p := range Parts() {
		for _, d := range p.doors() {
			names = append(names, d.env)
		}
	}
	return names
}

// Parts returns the cloud's services in the order in which they start; they
// stop in the opposite one.
func Parts() []*Part {
	return []*Part{
		{Name: "dns-root", Address: "dns-root:53", Config: "dns-root.toml", Image: "dnsserver", Speaks: "DNS, the zone .", UDP: true, kind: authorityKind()},
		{Name: "dns-com", Address: "dns-com:53", Config: "dns-com.toml", Image: "dnsserver", Speaks: "DNS, the zone com.", UDP: true, kind: authorityKind()},
		{Name: "dns-example-com", Address: "dns-example-com:53", Config: "dns-example-com.toml", Image: "dnsserver", Speaks: "DNS, the zone example.com.", UDP: true, kind: authorityKind()},
		{Name: resolverName, Address: "dns-resolver:" + resolverPort, Config: "dns-resolver.toml", Image: "resolver", Port: 5354, Env: resolverEnv, Admin: AdminPort{5380, "MINICLOUD_RESOLVER_ADMIN_PORT", "9100"}, Speaks: "DNS, resolves from the root", UDP: true, kind: resolverKind()},
		{Name: "data-store", Address: "data-store:8004", Config: "data-store.toml", Image: "datastore", Port: 8004, Env: "MINICLOUD_DATASTORE_PORT", Speaks: "PostgreSQL protocol, SQLite's SQL", Keeps: true, kind: datastoreKind()},
		{Name: "cache-store", Address: "cache-store:8005", Config: "cache-store.toml", Image: "cache", Port: 8005, Env: "MINICLOUD_CACHE_PORT", Speaks: "HTTP cache", kind: cacheKind()},
		{Name: "message-queue", Address: "message-queue:8006", Config: "message-queue.toml", Image: "queue", Port: 8006, Env: "MINICLOUD_QUEUE_PORT", Speaks: "HTTP queue", Keeps: true, kind: queueKind()},
		{Name: "object-storage", Address: "object-storage:8007", Config: "object-storage.toml", Image: "objectstorage", Port: 8007, Env: "MINICLOUD_OBJECTSTORAGE_PORT", Speaks: "HTTP /files, S3", Keeps: true, kind: objectStorageKind()},
		{Name: "http-api-1", Address: "http-api-1:8001", Config: "http-api.toml", Image: "httpapi", Port: 8001, Env: "MINICLOUD_HTTPAPI_1_PORT", Speaks: "HTTP API", kind: httpAPIKind()},
		{Name: "http-api-2", Address: "http-api-2:8001", Config: "http-api.toml", Image: "httpapi", Port: 8002, Env: "MINICLOUD_HTTPAPI_2_PORT", Speaks: "HTTP API", kind: httpAPIKind()},
		{Name: loadBalancer, Address: "load-balancer:80", Config: "load-balancer.toml", Image: "lb", Port: 80, Env: httpEnv, Admin: AdminPort{8008, adminEnv, "8008"}, Speaks: "HTTP, the way in", kind: loadBalancerKind()},
	}
}
