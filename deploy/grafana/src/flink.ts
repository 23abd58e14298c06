import { choice, dashboard, row, stat, timeseries } from './dashboard.js';

export const flink = dashboard(
  'weir-flink',
  'Flink',
  choice('job', 'Job', 'flink_jobmanager_job_uptime', 'job_name'),
  row(
    'Jobs',
    stat('Running', ['running', 'flink_jobmanager_numRunningJobs']),
    timeseries('Restarts', 'short', ['{{job_name}}', 'flink_jobmanager_job_numRestarts{job_name=~"$job"}']),
    timeseries('Uptime', 'ms', ['{{job_name}}', 'flink_jobmanager_job_uptime{job_name=~"$job"}']),
  ),
  row(
    'Flow',
    timeseries('Records in', 'recps', ['{{task_name}}', 'sum by (task_name) (flink_taskmanager_job_task_numRecordsInPerSecond{job_name=~"$job"})']),
    timeseries(
      'Records out', 'recps',
      ['{{task_name}}', 'sum by (task_name) (flink_taskmanager_job_task_numRecordsOutPerSecond{job_name=~"$job"})'],
    ),
    timeseries(
      'Backpressure', 'percentunit',
      ['{{task_name}}', 'max by (task_name) (flink_taskmanager_job_task_backPressuredTimeMsPerSecond{job_name=~"$job"}) / 1000'],
    ),
  ),
  row(
    'Checkpoints',
    timeseries('Duration', 'ms', ['{{job_name}}', 'flink_jobmanager_job_lastCheckpointDuration{job_name=~"$job"}']),
    timeseries('Size', 'bytes', ['{{job_name}}', 'flink_jobmanager_job_lastCheckpointSize{job_name=~"$job"}']),
    timeseries(
      'Completed and failed', 'short',
      ['{{job_name}} completed', 'increase(flink_jobmanager_job_numberOfCompletedCheckpoints{job_name=~"$job"}[5m])'],
      ['{{job_name}} failed', 'increase(flink_jobmanager_job_numberOfFailedCheckpoints{job_name=~"$job"}[5m])'],
    ),
  ),
  row(
    'Processes',
    timeseries(
      'Heap', 'bytes',
      ['{{tm_id}}', 'flink_taskmanager_Status_JVM_Memory_Heap_Used'],
      ['JobManager', 'flink_jobmanager_Status_JVM_Memory_Heap_Used'],
    ),
    timeseries('CPU', 'percentunit', ['{{tm_id}}', 'flink_taskmanager_Status_JVM_CPU_Load']),
  ),
);
