// Package kit is what every service of the cloud shares, and nothing that
// knows a domain word: configuration, logging, health, the admin listener, an
// HTTP server that drains, problem documents, request ids and dialing.
//
// A service built on it has one shape:
//
//	func main() { os.Exit(kit.Main("queue", run)) }
//
//	func run(p *kit.Process) error {
//		cfg := queue.DefaultConfig()
//		if err := p.Configure(&cfg); err != nil { // -config, -check, strict TOML
//			return err
//		}
//		s, err := queue.New(cfg, p.Logger, p.Registry) // starts nothing
//		if err != nil {
//			return err
//		}
//		ln, err := kit.Listen(cfg.Listen) // an address in use is an error here
//		if err != nil {
//			return err
//		}
//		return p.Run(s.Health(), func(ctx context.Context) error { return s.Serve(ctx, ln) })
//	}
//
// The life of a process: configuration is read and validated, sockets are
// bound, then Run serves the admin listener and the service until SIGTERM or
// SIGINT ends the context; the service drains and returns; the process exits 0.
// A second signal ends it at once.
//
// What kit does not do: it owns no global state, opens no data, and chooses no
// protocol. A service that speaks something other than HTTP uses all of it but
// [HTTPServer].
package kit
