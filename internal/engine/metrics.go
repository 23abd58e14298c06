package engine

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/metric"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// Metrics are the metrics of a process's pipelines. They are read from the pipelines' status when
// scraped; only the histograms, rows ahead and expired keys are updated, once per transaction.
type Metrics struct {
	commit  *prometheus.HistogramVec
	latency *prometheus.HistogramVec
	ahead   *prometheus.CounterVec
	expired *prometheus.CounterVec

	mu  sync.Mutex
	all []*Status
}

// NewMetrics creates the metrics of pipelines and registers them.
func NewMetrics(to prometheus.Registerer) *Metrics {
	m := &Metrics{
		commit:  metric.SecondsHistogram("weir_engine_commit_seconds", "Length of a transaction, from its first record to the broker's answer.", "pipeline"),
		ahead:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_engine_rows_ahead_total", Help: "Rows too far in the future to move the watermark (weir.watermark.max-ahead)."}, []string{"pipeline"}),
		expired: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_engine_expired_keys_total", Help: "Keys of the state that were deleted because they had not changed for table.exec.state.ttl."}, []string{"pipeline"}),
		latency: metric.SecondsHistogram("weir_engine_latency_seconds", "Time from a record's timestamp to the commit of its results, for a sample of the records.", "pipeline"),
	}
	to.MustRegister(m, m.commit, m.latency, m.ahead, m.expired)
	return m
}

// add includes a pipeline in the metrics from now on, even after it has ended: a counter must not
// decrease.
func (m *Metrics) add(s *Status) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, s)
}

func (m *Metrics) committed(pipeline string, c Commit) {
	if m == nil {
		return
	}
	m.commit.WithLabelValues(pipeline).Observe(c.Took.Seconds())
	m.ahead.WithLabelValues(pipeline).Add(float64(c.Ahead))
	m.expired.WithLabelValues(pipeline).Add(float64(c.Expired))
	latency := m.latency.WithLabelValues(pipeline)
	for _, l := range c.Latencies {
		latency.Observe(max(0, l.Seconds()))
	}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weir_engine_"+name, help, append([]string{"pipeline"}, labels...), nil)
}

// Metrics of each pipeline. No label has a value per device, key or record.
var (
	descRecords   = desc("records_total", "Records read, by committed transactions.", "stage")
	descOutputs   = desc("outputs_total", "Records written to tables and repartition topics, by committed transactions.", "stage")
	descLate      = desc("late_rows_total", "Rows that arrived after their window had closed. They are in the topic PIPELINE.late.")
	descSkipped   = desc("skipped_offsets_total", "Offsets of a source that retention, DeleteRecords or the deletion of the topic removed before they were read.", "topic")
	descLetters   = desc("dead_letters_total", "Records set aside in the dead-letter topic.", "cause")
	descDropped   = desc("dropped_total", "What options of a table dropped: records and values (json.ignore-parse-errors), entries of maps (json.map-null-key.mode = DROP), rows (table.exec.sink.not-null-enforcer = DROP).", "table", "what")
	descCommitted = desc("transactions_committed_total", "Committed transactions.")
	descAborted   = desc("transactions_aborted_total", "Aborted transactions.", "reason")
	descHanging   = desc("hanging_transactions", "Transactions that hang on topics of the pipeline or on the offsets of its group: it waits for them, and no timeout ends them.")
	descRetries   = desc("retries_total", "Sessions that failed and were restarted.")
	descLag       = desc("lag_records", "Records that can be read and have not been read yet, as of the last commit.", "topic")
	descBehind    = desc("lag_seconds", "Age of the last record read, in the partition that is furthest behind; 0 without lag.", "topic")
	descWatermark = desc("watermark_delay_seconds", "How far the lowest watermark of partitions that are not idle is behind the clock; negative where it is ahead.", "topic")
	descEntries   = desc("state_entries", "Entries of state in this process.")
	descBytes     = desc("state_bytes", "Memory used by the state in this process.")
	descNoCopies  = desc("local_copies_lost", "1 where local copies of the state could not be kept, for example on a full disk: the state is in memory only, and the next start restores it from the changelog.")
	descRestore   = desc("restore_seconds", "Duration of the longest of the tasks' last restores; while a restore is running, its duration so far.")
	descRestoring = desc("restoring_tasks", "Tasks whose state is being restored.")
	descTasks     = desc("tasks", "Tasks (a stage on a partition) that are assigned to this process.")
	descWorkers   = desc("workers", "Workers of this process, by phase.", "phase")
	descLast      = desc("last_commit_timestamp_seconds", "When the last transaction was committed, in Unix time; 0 before the first.")
	descStarted   = desc("start_timestamp_seconds", "When the pipeline was started, in Unix time.")
	descRecreated = desc("source_recreated_total", "Times that a source topic was found deleted and created again, with the topic ids before (was) and after (is).", "topic", "was", "is")
)

var phases = []Phase{Starting, Restoring, Running, Waiting, Retrying, Stopped, Failed}

// Describe names no metrics in advance: a process may have no pipeline yet.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of all pipelines.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	all := slices.Clone(m.all)
	m.mu.Unlock()
	seen := make(map[string]bool)
	for _, s := range slices.Backward(all) { // the latest of each name
		if !seen[s.pipeline] {
			seen[s.pipeline] = true
			s.collect(to)
		}
	}
}

// countable returns the label values of counters that start at 0, so that Prometheus sees the first
// increase: the topics of sources, and what options of tables may drop.
func countable(p *plan.Program) (sources []string, droppable []operator.Drop) {
	for _, t := range sourcesOf(p) {
		if !slices.Contains(sources, t.Kafka.Topic) {
			sources = append(sources, t.Kafka.Topic)
		}
		for _, what := range []string{operator.DropRecords, operator.DropValues} {
			if drop := (operator.Drop{Table: t.Name, What: what}); !slices.Contains(droppable, drop) {
				droppable = append(droppable, drop)
			}
		}
	}
	for _, sink := range p.Sinks {
		drop := operator.Drop{Table: sink.Op.(*plan.Insert).Table.Name, What: operator.DropRows} //nolint:forcetypeassert // a sink is an INSERT
		if !slices.Contains(droppable, drop) {
			droppable = append(droppable, drop)
		}
	}
	return sources, droppable
}

func (status *Status) collect(to chan<- prometheus.Metric) {
	s := status.Snapshot()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, value, append([]string{s.Pipeline}, labels...)...)
	}
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		send(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) { send(d, prometheus.GaugeValue, v, labels...) }

	sum := summarize(&s)
	for stage, n := range sum.records {
		count(descRecords, n, stage)
		count(descOutputs, sum.outputs[stage], stage)
	}
	count(descLate, sum.late)
	for topic, n := range s.Skipped {
		count(descSkipped, n, topic)
	}
	for _, cause := range deadletter.Causes {
		count(descLetters, s.Causes[cause], cause)
	}
	for _, drop := range status.droppable {
		if s.Dropped[drop] == 0 {
			count(descDropped, 0, drop.Table, drop.What)
		}
	}
	for drop, n := range s.Dropped {
		count(descDropped, n, drop.Table, drop.What)
	}
	for topic, in := range sum.inputs {
		gauge(descLag, float64(in.lag), topic)
		gauge(descBehind, in.behind, topic)
		if !in.least.IsZero() {
			gauge(descWatermark, s.At.Sub(in.least).Seconds(), topic)
		}
	}
	gauge(descEntries, float64(sum.entries))
	gauge(descBytes, float64(sum.bytes))
	lost := 0.0
	if s.NoCopies != "" {
		lost = 1
	}
	gauge(descNoCopies, lost)
	gauge(descRestore, sum.restore.Seconds())
	gauge(descRestoring, float64(sum.restoring))
	gauge(descTasks, float64(sum.tasks))

	var committed, retries int64
	aborted := make(map[string]int64)
	at := make(map[Phase]int)
	var last time.Time
	for _, w := range s.Workers {
		committed += w.Committed
		retries += max(0, w.Sessions-1)
		at[w.Phase]++
		if w.LastCommit.After(last) {
			last = w.LastCommit
		}
		for reason, n := range w.Aborted {
			aborted[reason] += n
		}
	}
	count(descCommitted, committed)
	count(descRetries, retries)
	for _, reason := range abortReasons {
		count(descAborted, aborted[reason], reason)
	}
	gauge(descHanging, float64(len(s.Hanging)))
	for _, p := range phases {
		gauge(descWorkers, float64(at[p]), string(p))
	}
	gauge(descLast, unix(last))
	for _, topic := range status.sources {
		count(descRecreated, 0, topic, "", "")
	}
	for _, r := range s.Recreations {
		count(descRecreated, 1, r.Topic, r.Was, r.Is)
	}
	gauge(descStarted, unix(s.Started))
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// summary aggregates the tasks of a pipeline.
type summary struct {
	records, outputs map[string]int64 // by stage
	inputs           map[string]*inputSummary
	late             int64
	entries, bytes   int64
	tasks, restoring int
	restore          time.Duration
}

// inputSummary aggregates the partitions of a topic.
type inputSummary struct {
	lag    int64
	behind float64
	least  time.Time // watermark
}

func summarize(s *Snapshot) summary {
	sum := summary{records: make(map[string]int64), outputs: make(map[string]int64), inputs: make(map[string]*inputSummary)}
	for i := range s.Tasks {
		t := &s.Tasks[i]
		sum.records[t.Stage] += t.Records
		sum.outputs[t.Stage] += t.Outputs
		sum.late += t.Late
		if t.Worker == "" {
			continue
		}
		sum.tasks++
		sum.entries += t.StateEntries
		sum.bytes += t.StateBytes
		took := time.Duration(t.Restore.Took)
		if !t.Restore.Done && !t.Restore.Began.IsZero() {
			sum.restoring++
			took = s.At.Sub(t.Restore.Began)
		}
		sum.restore = max(sum.restore, took)
		for _, in := range t.Inputs {
			sum.input(in)
		}
	}
	return sum
}

func (sum *summary) input(in InputStatus) {
	all := sum.inputs[in.Topic]
	if all == nil {
		all = &inputSummary{}
		sum.inputs[in.Topic] = all
	}
	all.lag += in.Lag
	all.behind = max(all.behind, in.Behind)
	if in.Watermark != nil && !in.Idle && (all.least.IsZero() || in.Watermark.Before(all.least)) {
		all.least = *in.Watermark
	}
}
