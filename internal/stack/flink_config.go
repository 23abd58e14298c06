package stack

import (
	"fmt"
	"os"
	"path/filepath"
)

// Memory of the processes, in MiB. Flink's scripts derive the JVM's flags from its settings;
// without the scripts both are set here, and must agree.
const (
	jobManagerHeap  = 384
	gatewayHeap     = 384
	frameworkMemory = 64
	networkMemory   = 96
	managedMemory   = 256 // RocksDB's
	taskOffHeap     = 64
	directMemory    = frameworkMemory + taskOffHeap + networkMemory
)

// configure writes the shared settings of all processes.
func (f *Flink) configure() error {
	conf := filepath.Join(f.dir, "conf")
	config := fmt.Sprintf(`jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: %[2]d
jobmanager.bind-host: 127.0.0.1
blob.server.port: "%[3]d"
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: %[4]d
sql-gateway.endpoint.rest.address: 127.0.0.1
sql-gateway.endpoint.rest.bind-address: 127.0.0.1
sql-gateway.endpoint.rest.port: %[5]d
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: %[6]d
taskmanager.cpu.cores: %[6]d
taskmanager.memory.framework.heap.size: %[7]dm
taskmanager.memory.framework.off-heap.size: %[7]dm
taskmanager.memory.task.heap.size: %[8]dm
taskmanager.memory.task.off-heap.size: %[9]dm
taskmanager.memory.managed.size: %[10]dm
taskmanager.memory.network.min: %[11]dm
taskmanager.memory.network.max: %[11]dm
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 192m
taskmanager.memory.jvm-overhead.max: 192m
jobmanager.memory.heap.size: %[12]dm
jobmanager.memory.off-heap.size: 128m
parallelism.default: %[13]d
state.backend.type: rocksdb
execution.checkpointing.mode: EXACTLY_ONCE
execution.checkpointing.interval: 5s
execution.checkpointing.timeout: 2min
execution.checkpointing.incremental: true
execution.checkpointing.dir: file://%[1]s/checkpoints
execution.checkpointing.savepoint-dir: file://%[1]s/savepoints
execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION
execution.checkpointing.tolerable-failed-checkpoints: 3
restart-strategy.type: exponential-delay
restart-strategy.exponential-delay.initial-backoff: 1s
restart-strategy.exponential-delay.max-backoff: 10s
heartbeat.interval: 2000
heartbeat.timeout: 10000
slot.request.timeout: 60000
table.local-time-zone: UTC
metrics.reporters: prometheus
metrics.reporter.prometheus.factory.class: org.apache.flink.metrics.prometheus.PrometheusReporterFactory
io.tmp.dirs: %[1]s/tmp
classloader.check-leaked-classloader: false
`, f.dir, f.RPC, f.Blob, f.Rest, f.Gate, f.Slots, frameworkMemory, f.Memory, taskOffHeap, managedMemory, networkMemory, jobManagerHeap,
		f.Slots*f.TaskManagers)
	if err := os.WriteFile(filepath.Join(conf, "config.yaml"), []byte(config), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(conf, "log4j2.properties"), []byte(flinkLogging), 0o600)
}

// flinkLogging logs to log.file, where the JobManager's REST API finds it; at most 40 MB per
// process.
const flinkLogging = `status=error
appender.f.type=RollingFile
appender.f.name=F
appender.f.fileName=${sys:log.file}
appender.f.filePattern=${sys:log.file}.%i
appender.f.layout.type=PatternLayout
appender.f.layout.pattern=%d{yyyy-MM-dd HH:mm:ss,SSS}{UTC} %-5p %c [%t] - %m%n
appender.f.policies.type=Policies
appender.f.policies.size.type=SizeBasedTriggeringPolicy
appender.f.policies.size.size=20MB
appender.f.strategy.type=DefaultRolloverStrategy
appender.f.strategy.max=1
rootLogger.level=info
rootLogger.appenderRef.f.ref=F
logger.k.name=org.apache.kafka
logger.k.level=warn
logger.p.name=org.apache.pekko
logger.p.level=warn
`
