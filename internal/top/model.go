package top

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"weir.example/weir/internal/console/api"
)

// Run runs the interactive program until q, Ctrl-C or ctx is done. It returns an error immediately
// if no console responds.
func Run(ctx context.Context, c *Client) error {
	var o api.Overview
	if err := c.get(ctx, "/api/overview", nil, &o); err != nil {
		return err
	}
	m := &model{ctx: ctx, client: c, styles: coloured(), overview: &o, width: 80, height: 24}
	_, err := tea.NewProgram(m, tea.WithContext(ctx)).Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

type page int

const (
	overviewPage page = iota
	pipelinesPage
	devicesPage
	topicsPage
)

var titles = []string{"overview", "pipelines", "devices", "topics"}

const pollInterval = time.Second

// model is the state of the program, with the latest responses.
type model struct {
	ctx           context.Context //nolint:containedctx // shared by the commands
	client        *Client
	styles        styles
	width, height int

	page   page
	offset int    // of the first row
	filter string // of devices and topics
	typing bool   // into the filter
	round  int    // of requests; responses of earlier rounds are dropped

	overview *api.Overview
	devices  *api.DeviceList
	topics   *api.TopicList
	err      error
}

// response is the response to a request of a round.
type response struct {
	round    int
	overview *api.Overview
	devices  *api.DeviceList
	topics   *api.TopicList
	err      error
}

// poll starts the next round if no other has started since.
type poll struct{ round int }

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return m.request() }

// request starts a round: it requests the data of the current page.
func (m *model) request() tea.Cmd {
	m.round++
	round, at, offset, filter, rows := m.round, m.page, m.offset, m.filter, m.rows()
	return func() tea.Msg {
		r := response{round: round}
		switch at {
		case devicesPage:
			r.devices = &api.DeviceList{}
			r.err = m.client.get(m.ctx, "/api/devices", url.Values{"q": {filter}, "offset": {fmt.Sprint(offset)}, "limit": {fmt.Sprint(rows)}}, r.devices)
		case topicsPage:
			r.topics = &api.TopicList{}
			r.err = m.client.get(m.ctx, "/api/topics", nil, r.topics)
		default:
			r.overview = &api.Overview{}
			r.err = m.client.get(m.ctx, "/api/overview", nil, r.overview)
		}
		return r
	}
}

// rows returns the number of lines for a list without its header.
func (m *model) rows() int { return max(1, min(200, m.height-5)) }

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		return m, m.request()
	case response:
		if msg.round != m.round {
			return m, nil
		}
		m.receive(msg)
		round := m.round
		return m, tea.Tick(pollInterval, func(time.Time) tea.Msg { return poll{round} })
	case poll:
		if msg.round == m.round {
			return m, m.request()
		}
	case tea.KeyPressMsg:
		return m.key(msg)
	}
	return m, nil
}

func (m *model) receive(r response) {
	m.err = r.err
	if r.err != nil {
		return // keep showing the previous data
	}
	switch {
	case r.devices != nil:
		m.devices = r.devices
	case r.topics != nil:
		m.topics = r.topics
	case r.overview != nil:
		m.overview = r.overview
	}
}

func (m *model) key(k tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	name := k.String()
	if m.typing {
		return m.typed(name, k.Key().Text)
	}
	switch name {
	case "q", "ctrl+c", "esc":
		return m, tea.Quit
	case "1", "2", "3", "4":
		return m.goTo(page(name[0] - '1'))
	case "tab", "right", "l":
		return m.goTo((m.page + 1) % page(len(titles)))
	case "shift+tab", "left", "h":
		return m.goTo((m.page + page(len(titles)) - 1) % page(len(titles)))
	case "down", "j":
		return m.scroll(1)
	case "up", "k":
		return m.scroll(-1)
	case "pgdown", "space":
		return m.scroll(m.rows())
	case "pgup":
		return m.scroll(-m.rows())
	case "home", "g":
		return m.scroll(-m.offset)
	case "/":
		m.typing = m.page == devicesPage || m.page == topicsPage
	}
	return m, nil
}

// typed edits the filter.
func (m *model) typed(name, text string) (tea.Model, tea.Cmd) {
	switch name {
	case "ctrl+c":
		return m, tea.Quit
	case "enter":
		m.typing = false
		return m, nil
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		runes := []rune(m.filter)
		m.filter = string(runes[:max(0, len(runes)-1)])
	default:
		m.filter += text
	}
	m.offset = 0
	return m, m.request()
}

func (m *model) goTo(p page) (tea.Model, tea.Cmd) {
	m.page, m.offset, m.filter = p, 0, ""
	return m, m.request()
}

func (m *model) scroll(by int) (tea.Model, tea.Cmd) {
	most := 0
	switch {
	case m.page == devicesPage && m.devices != nil:
		most = m.devices.Matched - m.rows()
	case m.page == topicsPage && m.topics != nil:
		most = len(m.topics.Topics) - m.rows()
	}
	m.offset = max(0, min(m.offset+by, most))
	return m, m.request()
}

// View implements tea.Model.
func (m *model) View() tea.View {
	var b strings.Builder
	head := m.styles.accent.Render("weir top")
	for i, title := range titles {
		text := fmt.Sprintf("%d %s", i+1, title)
		if page(i) == m.page {
			text = m.styles.bold.Underline(true).Render(text)
		} else {
			text = m.styles.faint.Render(text)
		}
		head += "  " + text
	}
	b.WriteString(ansi.Truncate(head, m.width, "…") + "\n\n")
	lines := m.lines()
	if len(lines) > m.height-4 {
		lines = lines[:max(0, m.height-4)]
	}
	for _, line := range lines {
		b.WriteString(ansi.Truncate(line, m.width, "…") + "\n")
	}
	b.WriteString(strings.Repeat("\n", max(0, m.height-4-len(lines))) + "\n")
	b.WriteString(ansi.Truncate(m.foot(), m.width, "…"))
	view := tea.NewView(b.String())
	view.AltScreen = true
	view.WindowTitle = "weir top"
	return view
}

func (m *model) lines() []string {
	waiting := []string{m.styles.faint.Render("waiting for the console…")}
	switch m.page {
	case devicesPage:
		if m.devices == nil {
			return waiting
		}
		return m.styles.devices(m.devices, m.width)
	case topicsPage:
		if m.topics == nil {
			return waiting
		}
		all := m.styles.topics(m.topics, m.filter, m.width)
		return append(all[:1:1], all[min(len(all), 1+m.offset):]...)
	case pipelinesPage:
		return m.styles.pipelines(m.overview.Pipelines, m.width)
	default:
		return m.styles.overview(m.overview, m.width)
	}
}

func (m *model) foot() string {
	switch {
	case m.err != nil:
		return m.styles.bad.Render(plain(m.err.Error()))
	case m.typing:
		return "search: " + plain(m.filter) + "▏" + m.styles.faint.Render("  enter: keep  esc: clear")
	case m.page == devicesPage && m.devices != nil:
		last := min(m.devices.Matched, m.offset+len(m.devices.Rows))
		return m.styles.faint.Render(fmt.Sprintf("%d–%d of %d%s   / search   ↑↓ scroll   tab next page   q quit", min(m.offset+1, last), last, m.devices.Matched, quoted(m.filter)))
	case m.page == topicsPage:
		return m.styles.faint.Render("/ search" + quoted(m.filter) + "   ↑↓ scroll   tab next page   q quit")
	}
	return m.styles.faint.Render("tab next page   1–4 go to page   q quit   " + m.client.URL)
}

func quoted(filter string) string {
	if filter == "" {
		return ""
	}
	return " matching “" + plain(filter) + "”"
}
