package plan

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/webhook"
)

// httpRequests is the connector http: requests with the rows that INSERTs write.
type httpRequests struct{}

// Webhook is a URL to which rows are sent. RoutingKey and Signing refer to secrets.
type Webhook struct {
	Web
	Method      string
	ContentType string
	Body        string // template; "" for the rows as JSON
	Text        string // template of a preset's text; "" for all columns
	Preset      string // "" for none
	RoutingKey  string // of the preset pagerduty
	Signing     string // secret of Standard Webhooks; "" for none
	BatchRows   int    // of a request
	Letters     []int  // statuses that concern single rows, although they usually don't
	Flush
}

// String names the target without its address.
func (w *Webhook) String() string {
	if w.Preset != "" {
		return "webhook (" + w.Preset + ")"
	}
	return "webhook"
}

const maxWebhookRows = 1000

func (httpRequests) options() []option {
	return onlyWeir([]option{
		connectorOption,
		{key: "method", kind: enumOption, values: []string{http.MethodPost, http.MethodPut}, about: "The method of requests."},
		{key: "content-type", kind: textOption, otherwise: "application/json", about: "The type of the body."},
		{key: "body", kind: textOption, about: "The template of the body; without it, the rows as JSON."},
		{key: "text", kind: textOption, about: "The template of a preset's text; without it, all columns."},
		{key: "preset", kind: enumOption, values: slices.Sorted(maps.Keys(webhook.Presets)), otherwise: "none", about: "Makes the messages of a known service."},
		{key: "pagerduty.routing-key", kind: textOption, about: "The key of the preset pagerduty, which refers to a secret."},
		{key: "signing.secret", kind: textOption, about: "Signs requests as Standard Webhooks describes; it refers to a secret."},
		{key: "batch.max-rows", kind: integerOption, otherwise: "1", about: "Rows of a request, at most " + strconv.Itoa(maxWebhookRows) + "."},
		{key: "dead-letter.statuses", kind: listOption, about: "Statuses from 400 to 499 that concern single rows, separated by semicolons: such rows become dead letters."},
	}, flushOptions("500"), webOptions)
}

func (httpRequests) metadata() map[string]metadata { return nil }

func (httpRequests) bind(t *Table, o *options) (err error) {
	w := &Webhook{Body: o.get("body"), Text: o.get("text"), Preset: o.get("preset"), RoutingKey: o.get("pagerduty.routing-key"), Signing: o.get("signing.secret"), BatchRows: 1}
	if err := w.Web.bind(t, o); err != nil {
		return err
	}
	if w.Method, err = o.one("method"); err != nil {
		return err
	}
	if err := w.bindPreset(t, o); err != nil {
		return err
	}
	if w.URL == "" {
		return sql.Errorf(t, "table %s has no option 'url'", t.Name)
	}
	if w.Signing != "" && !secret.Refers(w.Signing) {
		return sql.Errorf(o.all["signing.secret"].ValuePos, "table %s: the option 'signing.secret' is a secret", t.Name).WithHint("refer to it with ${env:NAME} or ${file:PATH} instead of writing it into the file")
	}
	if rows := o.get("batch.max-rows"); rows != "" {
		if w.BatchRows, err = strconv.Atoi(rows); err != nil || w.BatchRows < 1 || w.BatchRows > maxWebhookRows {
			return o.bad("batch.max-rows", "write the number of rows of a request, 1 to "+strconv.Itoa(maxWebhookRows))
		}
	}
	if w.Preset == "pagerduty" && w.BatchRows > 1 {
		return o.bad("batch.max-rows", "an event of PagerDuty has one row")
	}
	for status := range strings.SplitSeq(o.get("dead-letter.statuses"), ";") {
		if status = strings.TrimSpace(status); status == "" {
			continue
		}
		code, err := strconv.Atoi(status)
		if err != nil || code < 400 || code > 499 || code == 401 || code == 408 || code == 425 || code == 429 {
			return o.bad("dead-letter.statuses", "list statuses from 400 to 499 that concern single rows, such as 404;410; not 401, 408, 425 and 429")
		}
		w.Letters = append(w.Letters, code)
	}
	if err := w.Flush.bind(o); err != nil {
		return err
	}
	if err := t.deliverTo(w, o.name); err != nil {
		return err
	}
	return w.checkTemplates(t, o)
}

// bindPreset checks what a preset needs and excludes.
func (w *Webhook) bindPreset(t *Table, o *options) error {
	w.ContentType = o.get("content-type")
	if w.Preset == "" {
		for _, key := range []string{"text", "pagerduty.routing-key"} {
			if o.has(key) {
				return sql.Errorf(o.all[key], "table %s: the option '%s' needs a 'preset'", t.Name, key).WithHint("without one, 'body' is the template of the request")
			}
		}
		w.ContentType = orElse(w.ContentType, "application/json")
		return nil
	}
	p := webhook.Presets[w.Preset]
	switch {
	case p == nil:
		return o.bad("preset", "use "+strings.Join(slices.Sorted(maps.Keys(webhook.Presets)), ", ")+", or 'body' for others")
	case o.has("body") || o.has("content-type"):
		return sql.Errorf(t, "table %s has a 'preset', which makes the body", t.Name).WithHint("use 'text' for its text, or leave out 'preset'")
	case (w.Preset == "pagerduty") != o.has("pagerduty.routing-key"):
		return sql.Errorf(t, "table %s: the options 'preset' = 'pagerduty' and 'pagerduty.routing-key' must be set together", t.Name)
	case o.has("pagerduty.routing-key") && !secret.Refers(w.RoutingKey):
		return sql.Errorf(o.all["pagerduty.routing-key"].ValuePos, "table %s: the routing key is a secret", t.Name).WithHint("refer to it with ${env:NAME} or ${file:PATH}")
	case p.Secret && strings.HasPrefix(w.URL, "https:") && !secret.Refers(w.URL):
		return sql.Errorf(o.all["url"].ValuePos, "table %s: the URL of a webhook of %s is a secret: whoever knows it can post", t.Name, w.Preset).WithHint("refer to it with ${env:NAME} or ${file:PATH}")
	}
	w.URL, w.ContentType = orElse(w.URL, p.URL), p.ContentType
	return nil
}

// JSON reports whether bodies are JSON.
func (w *Webhook) JSON() bool { return strings.Contains(strings.ToLower(w.ContentType), "json") }

func (w *Webhook) checkTemplates(t *Table, o *options) error {
	columns := t.namesOf(t.Kafka.Value.Columns)
	for key, text := range map[string]string{"body": w.Body, "text": w.Text} {
		if !o.has(key) {
			continue
		}
		if _, err := webhook.ParseTemplate(text, false, columns); err != nil {
			return sql.Errorf(o.all[key].ValuePos, "the template '%s': %s", key, err).WithHint("columns are {{.Row.name}}; text/template of Go describes the rest")
		}
	}
	return nil
}
