// Package deploy has what runs Weir and watches it: an image, a compose file, a systemd unit,
// Prometheus rules, Grafana dashboards. Its Go code is tests only.
package deploy
