package httpapi

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	objects "minicloud.internal/objectstorage/client"
	cache "minicloud.internal/services/cache/client"
	queue "minicloud.internal/services/queue/client"

	"minicloud.internal/kit"
)

// An API is one replica of the book of spells.
type API struct {
	cfg     Config
	name    string
	logger  *slog.Logger
	health  *kit.Health
	metrics *metrics

	pool     *pgxpool.Config
	store    *store
	cache    *spellCache
	reader   *reader
	relay    *relay
	consumer *consumer
	clients  []*http.Client
}

// New validates cfg and registers the metrics. It starts and opens nothing.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*API, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	pool, err := cfg.poolConfig()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	a := &API{cfg: cfg, name: cfg.replica(), logger: logger, health: kit.NewHealth(), metrics: m, pool: pool}
	part := func(name, why string) *part { return newPart(name, why, a.health, logger, m.up) }
	queuePart := part("message-queue", "does not answer; events wait in the outbox")

	a.store = &store{timeout: cfg.QueryTimeout, now: time.Now, schema: make(chan struct{}),
		part: part("data-store", "does not answer; only cached spells can be read")}
	a.cache = &spellCache{client: cache.New(cfg.Cache, a.client(cfg.CacheTimeout)),
		breaker: breaker{now: time.Now, pause: cfg.CachePause}, timeout: cfg.CacheTimeout, ttl: cfg.CacheTTL,
		part: part("cache-store", "does not answer; spells are read from the data store")}
	a.reader = &reader{cache: a.cache, store: a.store, metrics: m}
	a.relay = &relay{store: a.store, queue: queue.New(cfg.Queue, a.client(cfg.QueueTimeout)), part: queuePart,
		metrics: m, logger: logger, owner: a.name + " " + rand.Text(), interval: cfg.OutboxInterval, wake: make(chan struct{}, 1)}
	a.consumer = &consumer{queue: queue.New(cfg.Queue, a.client(cfg.ReceiveWait+cfg.QueueTimeout)),
		store: a.store, cache: a.cache, objects: objects.New(cfg.Objects, a.client(cfg.ObjectsTimeout)),
		metrics: m, logger: logger, now: time.Now, wait: cfg.ReceiveWait, visibility: cfg.VisibilityTimeout,
		queuePart: queuePart, objectsPart: part("object-storage", "does not answer; cards wait in the queue")}
	return a, nil
}

func (a *API) client(timeout time.Duration) *http.Client {
	c := kit.NewHTTPClient(a.cfg.Dial, timeout)
	a.clients = append(a.clients, c)
	return c
}

// Health returns what the replica says of itself. It is 503 until the schema is
// in the data store.
func (a *API) Health() *kit.Health { return a.health }

// Serve answers on ln until ctx ends, then drains, relays what is left, finishes
// the events in hand, and returns nil. It joins every goroutine that it started.
// It may be called once.
func (a *API) Serve(ctx context.Context, ln net.Listener) error {
	pool, err := pgxpool.NewWithConfig(ctx, a.pool)
	if err != nil {
		_ = ln.Close()
		return fmt.Errorf("open the pool of connections: %w", err)
	}
	a.store.pool = pool
	// What stands behind the handlers outlives them: each ends by its own
	// stop, in the order below.
	lasting := context.WithoutCancel(ctx)
	a.health.Fail("starting: the schema in the data store is not there yet")
	startup := a.background(ctx, a.awaitSchema)
	relay := a.background(lasting, a.relay.run)
	consumer := a.background(lasting, a.consumer.run)
	watch := a.background(ctx, a.cache.watch)

	server := &kit.HTTPServer{Handler: a.handler(), Logger: a.logger, Health: a.health, AccessLog: a.cfg.AccessLog,
		DrainDelay: a.cfg.DrainDelay, DrainTimeout: a.cfg.DrainTimeout}
	err = server.Serve(ctx, ln)

	startup() // where the server failed, or the schema never came
	relay()
	consumer()
	watch()
	a.reader.flights.running.Wait()
	pool.Close()
	for _, c := range a.clients {
		c.CloseIdleConnections()
	}
	return err
}

// background runs f in a goroutine, and returns what ends and joins it.
func (a *API) background(ctx context.Context, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}
