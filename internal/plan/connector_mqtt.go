package plan

import (
	"net/url"
	"slices"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sql"
)

// mqtt is the connector mqtt: messages that INSERTs publish.
type mqtt struct{}

// MQTT is a broker to which rows are published. User and Password may refer to secrets.
type MQTT struct {
	URL            string
	ClientID       string // "" for a new one in each connection
	Topic          []TopicPart
	Retain         bool
	Payload        int // index in Kafka.Value of the column; -1 for the row as JSON
	User, Password string
	Version        string // 5 or 3.1.1; "" for 5, or else 3.1.1
	CA, Cert, Key  string // files in PEM
	Flush
}

// TopicPart is a text of a topic, or the value of a column. Columns are indexes of Kafka.Value.
type TopicPart struct {
	Text   string
	Column int // -1 for a text
}

// String names the target without its address.
func (m *MQTT) String() string { return "MQTT" }

func (mqtt) options() []option {
	return onlyWeir([]option{
		connectorOption,
		{key: "url", kind: textOption, otherwise: required, about: "The broker: mqtt://HOST:1883, or mqtts://HOST:8883 with TLS."},
		{key: "topic", kind: textOption, otherwise: required, about: "The topic, whose levels may have a column, such as cmd/{device_id}/set."},
		{key: "client-id", kind: textOption, about: "The client's identifier; without it, each connection has a new one."},
		{key: "qos", kind: enumOption, values: []string{"1"}, about: "The quality of service, always 1."},
		{key: "retain", kind: booleanOption, values: []string{"false", "true"}, about: "Whether messages are retained; tables with a PRIMARY KEY need it."},
		{key: "payload.column", kind: textOption, about: "The column with the payload; without it, the row as JSON."},
		{key: "username", kind: textOption, about: "The user."},
		{key: "password", kind: textOption, about: "The user's password, which refers to a secret."},
		{key: "version", kind: enumOption, values: []string{"5", "3.1.1"}, otherwise: "5, or else 3.1.1", about: "The version of MQTT."},
	}, tlsOptions, flushOptions("10000"))
}

func (mqtt) metadata() map[string]metadata { return nil }

func (mqtt) bind(t *Table, o *options) (err error) {
	m := &MQTT{URL: o.get("url"), ClientID: o.get("client-id"), Payload: -1, User: o.get("username"), Password: o.get("password")}
	for _, key := range []string{"url", "topic"} {
		if o.get(key) == "" {
			return sql.Errorf(t, "table %s has no option '%s'", t.Name, key)
		}
	}
	u, err := url.Parse(m.URL)
	if err != nil || u.Scheme != "mqtt" && u.Scheme != "mqtts" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/")+u.RawQuery != "" {
		return sql.Errorf(o.all["url"].ValuePos, "the option 'url' is not that of an MQTT broker").WithHint("write mqtt://HOST:1883, or mqtts://HOST:8883 with TLS; 'username' and 'password' are options")
	}
	if _, err := o.one("qos"); err != nil {
		return o.bad("qos", "rows are published with QoS 1: with 0 they could be lost, and with 2 a crash would repeat them too")
	}
	retain, err := o.one("retain")
	if err != nil {
		return err
	}
	m.Retain = retain == "true"
	if m.Version, err = o.one("version", "", "5", "3.1.1"); err != nil {
		return o.bad("version", "use 5 or 3.1.1")
	}
	if m.Password != "" && (m.User == "" || !secret.Refers(m.Password)) {
		return sql.Errorf(o.all["password"].ValuePos, "table %s: the option 'password' needs 'username', and is a secret", t.Name).WithHint("refer to it with ${env:NAME} or ${file:PATH} instead of writing it into the file")
	}
	if m.CA, m.Cert, m.Key, err = tlsFiles(t, o); err != nil {
		return err
	}
	if u.Scheme == "mqtt" && m.CA+m.Cert != "" {
		return sql.Errorf(t, "table %s: the options 'tls.…' need a URL that begins with mqtts://", t.Name)
	}
	if err := m.bind(o); err != nil {
		return err
	}
	if err := t.deliverTo(m, o.name); err != nil {
		return err
	}
	return m.bindColumns(t, o)
}

func (m *MQTT) bindColumns(t *Table, o *options) (err error) {
	if o.has("payload.column") {
		if m.Payload, err = t.valueColumn(o, "payload.column", o.get("payload.column")); err != nil {
			return err
		}
		if t.Kafka.Value.Fields[m.Payload].Type.Class() != column.Texts {
			return o.bad("payload.column", "its column must be STRING or BYTES")
		}
	}
	topic := o.get("topic")
	if strings.HasPrefix(topic, "$") || strings.HasPrefix(topic, "/") || strings.HasSuffix(topic, "/") || strings.Contains(topic, "//") || strings.ContainsAny(topic, "+#\x00") {
		return o.bad("topic", "a topic has no empty levels, no + and #, and does not begin with $: write for example cmd/{device_id}/set")
	}
	for level := range strings.SplitSeq(topic, "/") {
		if len(m.Topic) > 0 {
			m.Topic = append(m.Topic, TopicPart{"/", -1})
		}
		if err := m.bindLevel(t, o, level); err != nil {
			return err
		}
	}
	if !t.Upsert {
		return nil
	}
	if !m.Retain {
		return sql.Errorf(t, "table %s has a PRIMARY KEY, but messages that are not retained can't be replaced or deleted", t.Name).
			WithHint("leave out the key and group by a window, or set 'retain' = 'true': a deleted row then clears its topic")
	}
	for _, i := range t.PrimaryKey {
		at := slices.Index(t.Kafka.Value.Columns, i)
		if !slices.ContainsFunc(m.Topic, func(p TopicPart) bool { return p.Column == at }) {
			return sql.Errorf(o.all["topic"].ValuePos, "the topic lacks the column %s of the primary key: rows of different keys would replace each other", t.Columns[i].Name)
		}
	}
	for _, p := range m.Topic {
		if p.Column >= 0 && !slices.Contains(t.PrimaryKey, t.Kafka.Value.Columns[p.Column]) {
			return sql.Errorf(o.all["topic"].ValuePos, "the topic has the column %s, which is not part of the primary key: the topic of a deleted row would be unknown", t.Kafka.Value.Fields[p.Column].Name)
		}
	}
	return nil
}

// bindLevel binds a level of the topic: a text, with at most one column, so that different values
// never give the same topic.
func (m *MQTT) bindLevel(t *Table, o *options, level string) error {
	before, rest, found := strings.Cut(level, "{")
	name, after, closed := strings.Cut(rest, "}")
	if found != closed || strings.ContainsAny(before+after, "{}") {
		return o.bad("topic", "a level has at most one column, as {name}")
	}
	if before != "" {
		m.Topic = append(m.Topic, TopicPart{before, -1})
	}
	if !found {
		return nil
	}
	i, err := t.valueColumn(o, "topic", name)
	if err != nil {
		return err
	}
	if k := t.Kafka.Value.Fields[i].Type; !text(k) && !k.Integer() && k.Kind != column.Boolean {
		return o.bad("topic", "columns of the topic must be STRING, BOOLEAN or integers")
	}
	m.Topic = append(m.Topic, TopicPart{"", i})
	if after != "" {
		m.Topic = append(m.Topic, TopicPart{after, -1})
	}
	return nil
}
