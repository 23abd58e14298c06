// Package deploy has files to run and monitor Weir: an image, a compose file, a systemd unit,
// Prometheus rules, Grafana dashboards. Its Go code is tests only.
package deploy
