import { choice, dashboard, row, stat, timeseries, trouble } from './dashboard.js';

export const kafka = dashboard(
  'weir-kafka',
  'Kafka',
  choice('group', 'Group', 'weir_monitor_group_members'),
  row(
    'Cluster',
    stat('Brokers', ['up', 'weir_monitor_brokers_up'], ['known', 'weir_monitor_brokers_known']),
    trouble('Offline partitions', 'sum(weir_monitor_partitions_offline)'),
    trouble('Under-replicated partitions', 'sum(weir_monitor_partitions_under_replicated)'),
    trouble('Hanging transactions', 'weir_monitor_transactions_hanging'),
    trouble('Parts not answering', 'weir_monitor_gaps'),
  ),
  row(
    'Groups',
    timeseries('Lag', 'short', ['{{group}} {{topic}}', 'sum by (group, topic) (weir_monitor_group_lag_records{group=~"$group"})']),
    timeseries('Lag in time', 's', ['{{group}} {{topic}}', 'max by (group, topic) (weir_monitor_group_lag_seconds{group=~"$group"})']),
    timeseries('Members', 'short', ['{{group}}', 'weir_monitor_group_members{group=~"$group"}']),
  ),
  row(
    'Transactions',
    timeseries('Open', 'short', ['open', 'weir_monitor_transactions_open']),
    timeseries('Age of the oldest', 's', ['oldest', 'weir_monitor_transaction_oldest_seconds']),
    timeseries('Partitions', 'short', ['{{topic}}', 'sum by (topic) (weir_monitor_partitions)']),
    timeseries('Cluster check', 's', ['check', 'weir_monitor_check_seconds']),
  ),
);
