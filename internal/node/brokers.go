package node

import (
	"fmt"
	"strings"

	"weir.example/weir/internal/plan"
)

// BrokersOf returns the brokers that the tables of pipelines name in properties.bootstrap.servers,
// if any. It is an error if tables name different clusters.
func BrokersOf(programs ...*plan.Program) ([]string, error) {
	var found string
	for _, p := range programs {
		for _, t := range p.Tables {
			if t.Kafka.Brokers == "" || t.Kafka.Brokers == found {
				continue
			}
			if found != "" {
				return nil, fmt.Errorf("tables name different brokers, %s and %s, but a transaction cannot span clusters: choose one with --brokers", found, t.Kafka.Brokers)
			}
			found = t.Kafka.Brokers
		}
	}
	if found == "" {
		return nil, nil
	}
	return strings.Split(found, ","), nil
}
