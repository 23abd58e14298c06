package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/site"
)

// bundledScope is the scope of --topic where pipelines are named by their files.
const bundledScope = "applies to bundled pipelines; unless it is the default, the names of the pipeline and of its other topics start with it"

// siteScope is the scope of --topic where a command works on all that belongs to the readings.
const siteScope = "unless it is the default, the names of the pipeline and of all other topics start with it, so that sites can share a cluster"

// siteFlags select the readings that a command works on.
type siteFlags struct{ topic string }

// add adds --topic. scope is what follows from the topic besides the readings.
func (s *siteFlags) add(cmd *cobra.Command, scope string) {
	cmd.Flags().StringVar(&s.topic, "topic", site.DefaultReadings, "topic of the readings; "+scope)
}

func (s *siteFlags) site() (site.Site, error) {
	named, err := site.Of(s.topic)
	if err != nil {
		return named, usage(fmt.Errorf("--topic: %w", err))
	}
	return named, nil
}

// checkSite refuses a pipeline from a file that would process the default site's readings although
// --topic names another one. Only bundled pipelines follow --topic.
func checkSite(p *plan.Program, s site.Site) error {
	if s.IsDefault() || !slices.ContainsFunc(p.Tables, func(t *plan.Table) bool { return t.Kafka.Topic == site.DefaultReadings }) {
		return nil
	}
	return fmt.Errorf("a table has topic %s, but --topic is %s: --topic applies to bundled pipelines only; change 'topic' in the file, or leave --topic out",
		site.DefaultReadings, s.Readings())
}
