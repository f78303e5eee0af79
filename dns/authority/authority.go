package authority

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

// A Server answers for its zones.
type Server struct {
	zones  map[string]*Zone // by canonical name
	server *server.Server
	logger *slog.Logger
	health *kit.Health
}

// New reads the zones and registers the metrics. It starts nothing.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if err := cfg.ValidateLimits(); err != nil {
		return nil, err
	}
	zones, err := cfg.loadZones()
	if err != nil {
		return nil, err
	}
	metrics, err := newMetrics(zones, reg)
	if err != nil {
		return nil, err
	}
	for _, z := range zones {
		for _, entry := range z.skipped {
			logger.Info("a record without its value was left out", "zone", z.origin, "record", entry)
		}
	}
	s := &Server{zones: zones, logger: logger, health: kit.NewHealth()}
	s.server = &server.Server{Handler: s, Logger: logger, Health: s.health, Metrics: metrics, Limits: cfg.Limits}
	return s, nil
}

// Health answers 200 while Serve serves.
func (s *Server) Health() *kit.Health { return s.health }

// Serve answers on both sockets, which it closes in the end, until ctx ends;
// then it finishes what is in flight and returns nil.
func (s *Server) Serve(ctx context.Context, ln net.Listener, pc net.PacketConn) error {
	loaded := []string{}
	for _, name := range slices.Sorted(maps.Keys(s.zones)) {
		loaded = append(loaded, fmt.Sprintf("%s (serial %d)", name, s.zones[name].Serial()))
	}
	s.logger.Info("answering for zones", "zones", loaded, "address", pc.LocalAddr().String())
	return s.server.Serve(ctx, ln, pc)
}

// Answer implements [server.Handler].
func (s *Server) Answer(_ context.Context, q *server.Query, reply *dns.Msg) {
	z := s.zoneOf(q.Name, q.Type)
	if z == nil {
		reply.Rcode = dns.RcodeRefused
		q.Explain(dns.ExtendedErrorCodeNotAuthoritative, "This server does not answer for "+q.Name)
		return
	}
	r := z.Lookup(q.Question.Name, q.Name, q.Type)
	reply.Rcode, reply.Authoritative = r.Rcode, r.Authoritative
	// The lists are cut to size later; the zone's own stay whole.
	reply.Answer = r.Answer
	reply.Ns = slices.Clip(r.Authority)
	reply.Extra = slices.Clip(r.Additional)
}

// zoneOf returns the zone with the longest name that this name lies in, or nil.
// The DS record at a zone's origin is its parent's to answer.
func (s *Server) zoneOf(name string, qtype uint16) *Zone {
	var own *Zone
	if qtype == dns.TypeDS {
		if own = s.zones[name]; own != nil && name != "." {
			name = parent(name)
		}
	}
	for {
		if z := s.zones[name]; z != nil {
			return z
		}
		if name == "." {
			return own
		}
		name = parent(name)
	}
}
