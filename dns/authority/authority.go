package authority

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/dns/server"
	"minicloud.internal/dns/transfer"
	"minicloud.internal/kit"
)

// A Server answers for its zones.
type Server struct {
	// Hangup has [Server.Serve] read the zones again. A program has SIGHUP sent
	// there, with [os/signal.Notify], or sets a channel of its own before Serve.
	Hangup chan os.Signal

	config    Config
	zones     atomic.Pointer[zoneSet]
	server    *server.Server
	transfers *transfer.Transfers
	metrics   *metrics
	logger    *slog.Logger
	health    *kit.Health

	loading sync.Mutex // guards what sources hold
	sources []*source
}

// New reads the zones and registers the metrics. It starts nothing.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if err := cfg.validateKeys(); err != nil {
		return nil, err
	}
	zones, sources, err := cfg.loadZones()
	if err != nil {
		return nil, err
	}
	s := &Server{Hangup: make(chan os.Signal, 1), config: cfg, sources: sources, logger: logger, health: kit.NewHealth()}
	s.zones.Store(zones)
	if s.metrics, err = newMetrics(reg); err != nil {
		return nil, err
	}
	if s.transfers, err = transfer.New(cfg.Config, cfg.Dial, logger, reg); err != nil {
		return nil, err
	}
	counters, err := server.NewMetrics("authority", reg)
	if err != nil {
		return nil, err
	}
	names := 0
	for _, src := range sources {
		z := zones.zones[src.apex]
		names += len(z.order)
		for _, entry := range z.skipped {
			logger.Info("a record without its value was left out", "zone", z.origin, "record", entry)
		}
		s.loaded(z)
		if err := s.transfers.Publish(z, src.config.Policy); err != nil {
			return nil, err
		}
	}
	s.server = &server.Server{Handler: s, Logger: logger, Health: s.health, Metrics: counters, Limits: cfg.Limits, Keys: cfg.serverKeys()}
	giveBack(names)
	return s, nil
}

// Health answers 200 while Serve serves.
func (s *Server) Health() *kit.Health { return s.health }

// Serve answers on both sockets, which it closes in the end, until ctx ends;
// then it finishes what is in flight and returns nil. Meanwhile it follows the
// zone files, and tells secondary servers of what changes.
func (s *Server) Serve(ctx context.Context, ln net.Listener, pc net.PacketConn) error {
	loaded := []string{}
	zones := s.zones.Load().zones
	for _, name := range slices.Sorted(maps.Keys(zones)) {
		loaded = append(loaded, fmt.Sprintf("%s (serial %d)", zones[name].origin, zones[name].Serial()))
	}
	s.logger.Info("answering for zones", "zones", loaded, "address", pc.LocalAddr().String())
	beside, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { s.follow(beside) })
	running.Go(func() { _ = s.transfers.Run(beside) }) // it returns nil
	return s.server.Serve(ctx, ln, pc)
}

// Answer implements [server.Handler].
func (s *Server) Answer(_ context.Context, q *server.Query, reply *dns.Msg) {
	zones := s.zones.Load()
	asked, err := wirename.Pack(q.Question.Name)
	if err != nil {
		reply.Rcode = dns.RcodeFormatError
		return
	}
	if name := wirename.Lower(asked); zones.of([]byte(name), q.Type) == nil {
		reply.Rcode = dns.RcodeRefused
		sentence := append(make([]byte, 0, wirename.Max), notOurs...)
		q.Explain(dns.ExtendedErrorCodeNotAuthoritative, string(appendText(sentence, []byte(name))))
		return
	}
	r := zones.lookup(asked, q.Type)
	reply.Rcode, reply.Authoritative = r.Rcode, r.Authoritative
	reply.Answer, reply.Ns, reply.Extra = r.Answer, r.Authority, r.Additional
}

// Transfer implements [server.Transferrer].
func (s *Server) Transfer(ctx context.Context, q *server.Query, send func(*dns.Msg) error) error {
	return s.transfers.Transfer(ctx, q, send)
}
