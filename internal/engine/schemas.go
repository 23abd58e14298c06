package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/retry"
)

// Tasks do no I/O, so they can't query a registry. Before they get records, the session looks up
// the ids of the writer schemas. Known ids cost nothing; for others it waits as long as a healthy
// registry takes to answer. If there is no answer, the partition is held: the transaction is
// aborted, because its commit would include the offsets of the polled records, the partition is
// paused, and all others continue. It is resumed when the id is resolved. Nothing is guessed or
// dropped: records with an id that the registry does not have become dead letters, like all records
// that can't be decoded.
const (
	schemaPatience = 200 * time.Millisecond // how long a transaction waits for the answer of a registry
	schemaRecheck  = time.Minute            // after which an id that was not found is looked up again
)

// schemas are the registries of a pipeline's tables, shared by its workers.
type schemas struct {
	formats  *format.Schemas
	pipeline *pipeline
	ctx      context.Context // of the pipeline: lookups outlive the session that starts them
	stop     context.CancelFunc
	clients  map[string]*registry.Client
	readers  map[string][]reader // by topic

	resolving sync.WaitGroup

	mu      sync.Mutex
	lookups map[lookupID]*schemaLookup
}

// reader is a key or value of a table that is decoded with schemas of a registry.
type reader struct {
	format *plan.Format
	key    bool
}

type lookupID struct {
	url string
	id  int
}

func (l lookupID) String() string { return fmt.Sprintf("schema %d of %s", l.id, l.url) }

// schemaLookup is a request to a registry.
type schemaLookup struct {
	began   time.Time
	done    chan struct{}
	refused time.Time // when the registry answered that there is no such schema; zero otherwise
}

// prepareSchemas connects to the registries of the tables, and registers the schemas of the rows
// that the pipeline writes, before the first row. It waits for a registry that is down; one that
// refuses a schema stops the pipeline.
func (p *pipeline) prepareSchemas(ctx context.Context) error {
	p.closeSchemas()
	ctx, stop := context.WithCancel(ctx)
	s := &schemas{formats: format.NewSchemas(), pipeline: p, ctx: ctx, stop: stop, clients: make(map[string]*registry.Client), readers: make(map[string][]reader), lookups: make(map[lookupID]*schemaLookup)}
	p.schemas = s
	for _, t := range p.sources() {
		for _, r := range []reader{{&t.Kafka.Key, true}, {&t.Kafka.Value, false}} {
			if !format.HasRegistry(r.format.Name) {
				continue
			}
			if _, err := s.client(r.format.Options); err != nil {
				return &fatalError{fmt.Errorf("table %s: %w", t.Name, err)}
			}
			s.readers[t.Kafka.Topic] = append(s.readers[t.Kafka.Topic], r)
		}
	}
	for _, sink := range p.cfg.Program.Sinks {
		t := sink.Op.(*plan.Insert).Table //nolint:forcetypeassert // a sink is an INSERT
		for _, f := range []*plan.Format{&t.Kafka.Key, &t.Kafka.Value} {
			if !format.HasRegistry(f.Name) {
				continue
			}
			if err := s.register(ctx, f); err != nil {
				return &fatalError{fmt.Errorf("table %s: %w", t.Name, err)}
			}
		}
	}
	return nil
}

func (s *schemas) client(o format.Options) (*registry.Client, error) {
	if c := s.clients[o.Registry()]; c != nil {
		return c, nil
	}
	expanded, err := o.Expand(s.pipeline.cfg.Secrets)
	if err != nil {
		return nil, err
	}
	cfg, err := expanded.RegistryConfig()
	if err != nil {
		return nil, err
	}
	cfg.Logger, cfg.Metrics = s.pipeline.cfg.Logger, s.pipeline.cfg.Schemas
	c, err := registry.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	s.clients[o.Registry()] = c
	return c, nil
}

// register finds the id that rows are written with, by registering their schema or, with
// auto.register.schemas = false, by looking it up.
func (s *schemas) register(ctx context.Context, f *plan.Format) error {
	schema, err := format.SchemaOf(f.Name, f.Fields, f.Options)
	if err != nil {
		return err
	}
	client, err := s.client(f.Options)
	if err != nil {
		return err
	}
	subject := f.Options.Subject()
	find := func() (int, error) {
		if f.Options.RegistersSchemas() {
			return client.Register(ctx, subject, &schema)
		}
		v, err := client.Lookup(ctx, subject, &schema)
		if errors.Is(err, registry.ErrNotFound) {
			return 0, fmt.Errorf("%w; 'auto.register.schemas' is false: register it with weir schema register, or remove the option", err)
		}
		if err != nil {
			return 0, err
		}
		return v.Schema.ID, nil
	}
	id, err := registry.UntilAvailable(ctx, find, func(err error, pause time.Duration) {
		for _, instance := range s.pipeline.cfg.Instances {
			s.pipeline.cfg.Status.phase(instance, Waiting, "the schema registry: "+err.Error())
		}
		s.pipeline.cfg.Logger.Warn("waiting for the schema registry before the first row", "err", err, "subject", subject, "in", pause.Round(time.Millisecond))
	})
	if err != nil {
		return err
	}
	s.formats.SetWriter(f.Options.Registry(), subject, id)
	s.pipeline.cfg.Logger.Info("schema registered", "subject", subject, "id", id)
	return nil
}

// unknownIDs returns the schema ids of a partition's records that are not resolved, and starts
// lookups.
func (s *schemas) unknownIDs(tp *kgo.FetchTopicPartition) map[lookupID]bool {
	var all map[lookupID]bool
	for _, r := range s.readers[tp.Topic] {
		url, last := r.format.Options.Registry(), -1
		for _, record := range tp.Records {
			data := record.Value
			if r.key {
				data = record.Key
			}
			id, ok := format.SchemaID(data)
			if !ok || id == last || record.Attrs.IsControl() {
				continue
			}
			last = id
			known, refused := s.formats.Known(url, id)
			if refused {
				s.recheck(lookupID{url, id}, r)
			}
			if known {
				continue
			}
			if all == nil {
				all = make(map[lookupID]bool)
			}
			all[lookupID{url, id}] = true
			s.lookUp(lookupID{url, id}, r)
		}
	}
	return all
}

// lookUp starts the lookup of an id, unless there is one.
func (s *schemas) lookUp(id lookupID, r reader) *schemaLookup {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lookups[id]
	if l == nil {
		l = &schemaLookup{began: time.Now(), done: make(chan struct{})}
		s.lookups[id] = l
		s.resolving.Go(func() { s.resolve(id, r, l) })
	}
	return l
}

// recheck looks up an id again that was not found a while ago: registries that follow another one
// may lag behind it. Until there is an answer, the old one applies.
func (s *schemas) recheck(id lookupID, r reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lookups[id]; l != nil && !l.refused.IsZero() && time.Since(l.refused) > schemaRecheck {
		l = &schemaLookup{began: time.Now(), done: make(chan struct{})}
		s.lookups[id] = l
		s.resolving.Go(func() { s.resolve(id, r, l) })
	}
}

// resolve queries the registry until it answers.
func (s *schemas) resolve(id lookupID, r reader, l *schemaLookup) {
	defer close(l.done)
	client := s.clients[id.url]
	schema, err := client.Await(s.ctx, id.id)
	for err != nil && errors.Is(err, registry.ErrRefused) { // for example credentials: somebody has to correct them, and the records can wait
		s.pipeline.cfg.Logger.Warn("records are waiting for their schema", "id", id.id, "registry", id.url, "err", err)
		if retry.Sleep(s.ctx, 5*time.Second) != nil {
			return
		}
		schema, err = client.Await(s.ctx, id.id)
	}
	switch {
	case s.ctx.Err() != nil:
		return
	case err != nil:
		s.mu.Lock()
		l.refused = time.Now()
		s.mu.Unlock()
		s.formats.Refuse(id.url, id.id, err)
		return
	}
	if format.Fits(r.format.Name, r.format.Fields, r.format.Options, schema) != nil {
		s.findReader(client, r.format)
	}
	s.formats.Add(id.url, schema)
}

// findReader finds the newest schema of a table's subject that fits the table's columns. Errors
// about a schema that does not fit name it.
func (s *schemas) findReader(client *registry.Client, f *plan.Format) {
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	subject := f.Options.Subject()
	versions, err := client.Versions(ctx, subject)
	if err != nil {
		return // the error then names the table's columns
	}
	for _, n := range slices.Backward(versions) {
		v, err := client.Version(ctx, subject, n)
		if err == nil && format.Fits(f.Name, f.Fields, f.Options, v.Schema) == nil {
			s.formats.SetReader(f.Options.Registry(), subject, v.Schema.ID)
			return
		}
	}
}

// awaitLookups waits for the lookups of ids, schemaPatience at most, and reports whether all are
// resolved.
func (s *schemas) awaitLookups(ctx context.Context, ids map[lookupID]bool) bool {
	patience := time.NewTimer(schemaPatience)
	defer patience.Stop()
	for id := range ids {
		s.mu.Lock()
		l := s.lookups[id]
		s.mu.Unlock()
		if time.Since(l.began) > schemaPatience {
			select {
			case <-l.done:
				continue
			default:
				return false
			}
		}
		select {
		case <-l.done:
		case <-patience.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return s.known(ids)
}

func (s *schemas) known(ids map[lookupID]bool) bool {
	for id := range ids {
		if known, _ := s.formats.Known(id.url, id.id); !known {
			return false
		}
	}
	return true
}

// closeSchemas stops the lookups of the schemas that were prepared last, if any, and waits for
// them.
func (p *pipeline) closeSchemas() {
	if p.schemas != nil {
		p.schemas.close()
		p.schemas = nil
	}
}

func (s *schemas) close() {
	s.stop()
	s.resolving.Wait()
	for _, c := range s.clients {
		c.Close()
	}
}

type topicPartition struct {
	topic     string
	partition int32
}

// holdUnknown looks up the schemas that records were written with. If it reports true, partitions
// are held, and the polled records are polled again without those partitions.
func (s *session) holdUnknown(ctx context.Context, fetches kgo.Fetches) (bool, error) {
	s.releaseKnown()
	if len(s.p.schemas.readers) == 0 {
		return false, nil
	}
	pause := make(map[string][]int32)
	fetches.EachPartition(func(tp kgo.FetchTopicPartition) {
		ids := s.p.schemas.unknownIDs(&tp)
		if len(ids) == 0 || s.p.schemas.awaitLookups(ctx, ids) {
			return
		}
		pause[tp.Topic] = append(pause[tp.Topic], tp.Partition)
		s.held[topicPartition{tp.Topic, tp.Partition}] = ids
	})
	if len(pause) == 0 {
		return false, nil
	}
	s.group.Client.PauseFetchPartitions(pause)
	s.reportHeld()
	if err := s.begin(); err != nil {
		return true, err
	}
	s.tx.aborting = AbortSchema
	return true, s.end(kgo.TryAbort)
}

// releaseKnown resumes partitions whose schemas are known by now.
func (s *session) releaseKnown() {
	resume := make(map[string][]int32)
	for tp, ids := range s.held {
		if s.p.schemas.known(ids) {
			delete(s.held, tp)
			resume[tp.topic] = append(resume[tp.topic], tp.partition)
		}
	}
	for tp := range s.held { // held partitions are not idle: their rows are still to come
		for _, stage := range s.stages[tp.topic] {
			if t := s.tasks[taskID{stage.Name, tp.partition}]; t != nil {
				t.last[tp.topic] = s.cfg.Now()
			}
		}
	}
	if len(resume) == 0 {
		return
	}
	s.group.Client.ResumeFetchPartitions(resume)
	s.cfg.Logger.Info("schemas resolved: resuming partitions", "instance", s.w.instance, "partitions", resume)
	s.reportHeld()
}

// reportHeld reports which partitions wait for which schemas.
func (s *session) reportHeld() {
	if len(s.held) == 0 {
		s.cfg.Status.phase(s.w.instance, Running, "")
		return
	}
	ids := make(map[string]bool)
	var partitions []string
	for tp, of := range s.held {
		partitions = append(partitions, fmt.Sprintf("%s-%d", tp.topic, tp.partition))
		for id := range of {
			ids[id.String()] = true
		}
	}
	slices.Sort(partitions)
	missing := strings.Join(slices.Sorted(maps.Keys(ids)), ", ")
	s.cfg.Status.phase(s.w.instance, Waiting, fmt.Sprintf("%s: %s", strings.Join(partitions, ", "), missing))
	s.cfg.Logger.Warn("partitions are waiting for schemas from the registry", "instance", s.w.instance, "partitions", partitions, "schemas", missing)
}
