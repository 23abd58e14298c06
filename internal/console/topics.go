package console

import (
	"net/http"
	"time"

	"weir.example/weir/internal/console/api"
)

func (c *Console) topics(*http.Request) (any, error) { return c.topicRows(), nil }

func (c *Console) topicRows() api.TopicList {
	s := c.cluster.state()
	rows := api.TopicList{Topics: make([]api.TopicRow, 0, len(s.Topics)), Error: s.Err}
	for _, t := range s.Topics {
		row := api.TopicRow{Topic: t.Topic, Count: len(t.Partitions)}
		row.Partitions = nil
		for i := range s.Groups {
			if l := s.Groups[i].Topic(t.Name); l != nil {
				row.Readers = append(row.Readers, s.Groups[i].Name)
				row.Lag += l.Lag
			}
		}
		rows.Topics = append(rows.Topics, row)
	}
	return rows
}

type topicsFeed struct{ c *Console }

func (f topicsFeed) frame() any            { return f.c.topicRows() }
func (f topicsFeed) period() time.Duration { return time.Second }
func (f topicsFeed) close()                {}

// topic serves GET /api/topic?name=: partitions, consumer groups, settings.
func (c *Console) topic(r *http.Request) (any, error) {
	name := r.FormValue("name")
	s := c.cluster.state()
	t := s.topic(name)
	if t == nil {
		return nil, notFound("topic %q not found", name)
	}
	type reader struct {
		Group string  `json:"group"`
		State string  `json:"state"`
		Lag   int64   `json:"lag"`
		Rate  float64 `json:"rate"`
	}
	out := struct {
		api.Topic
		Readers []reader          `json:"readers"`
		Config  map[string]string `json:"config"`
	}{t.Topic, []reader{}, map[string]string{}}
	for i := range s.Groups {
		if l := s.Groups[i].Topic(name); l != nil {
			out.Readers = append(out.Readers, reader{s.Groups[i].Name, s.Groups[i].State, l.Lag, l.Rate})
		}
	}
	configs, err := c.admin.DescribeTopicConfigs(r.Context(), name)
	if err != nil {
		return nil, err
	}
	for _, config := range configs {
		for _, entry := range config.Configs {
			switch entry.Key {
			case "cleanup.policy", "retention.ms", "retention.bytes", "min.insync.replicas", "max.message.bytes", "segment.ms", "compression.type":
				if entry.Value != nil {
					out.Config[entry.Key] = *entry.Value
				}
			}
		}
	}
	return out, nil
}
