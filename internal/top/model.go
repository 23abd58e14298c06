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

// Run shows the console at a terminal until q, Ctrl-C, or ctx is done. It returns at once where no
// console answers.
func Run(ctx context.Context, c *Client) error {
	var o api.Overview
	if err := c.get(ctx, "/api/overview", nil, &o); err != nil {
		return err
	}
	m := &model{ctx: ctx, client: c, look: dressed(), overview: &o, width: 80, height: 24}
	_, err := tea.NewProgram(m, tea.WithContext(ctx)).Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// page is one of the pages.
type page int

const (
	overviewPage page = iota
	pipelinesPage
	devicesPage
	topicsPage
)

var titles = []string{"overview", "pipelines", "devices", "topics"}

const lookEvery = time.Second

// model is what is looked at, and what was seen last.
type model struct {
	ctx           context.Context //nolint:containedctx // of the program, for its commands
	client        *Client
	look          look
	width, height int

	page   page
	offset int    // of the first row
	filter string // of devices and topics
	typing bool   // into the filter
	round  int    // of questions; answers to older ones are late

	overview *api.Overview
	devices  *api.DeviceList
	topics   *api.TopicList
	err      error
}

// seen is an answer.
type seen struct {
	round    int
	overview *api.Overview
	devices  *api.DeviceList
	topics   *api.TopicList
	err      error
}

type lookAgain struct{ round int }

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return m.ask() }

// ask asks what the page shows.
func (m *model) ask() tea.Cmd {
	m.round++
	round, at, offset, filter, rows := m.round, m.page, m.offset, m.filter, m.rows()
	return func() tea.Msg {
		s := seen{round: round}
		switch at {
		case devicesPage:
			s.devices = &api.DeviceList{}
			s.err = m.client.get(m.ctx, "/api/devices", url.Values{"q": {filter}, "offset": {fmt.Sprint(offset)}, "limit": {fmt.Sprint(rows)}}, s.devices)
		case topicsPage:
			s.topics = &api.TopicList{}
			s.err = m.client.get(m.ctx, "/api/topics", nil, s.topics)
		default:
			s.overview = &api.Overview{}
			s.err = m.client.get(m.ctx, "/api/overview", nil, s.overview)
		}
		return s
	}
}

// rows is how many lines there are for a list, its head not among them.
func (m *model) rows() int { return max(1, min(200, m.height-5)) }

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		return m, m.ask()
	case seen:
		if msg.round != m.round {
			return m, nil
		}
		m.take(msg)
		round := m.round
		return m, tea.Tick(lookEvery, func(time.Time) tea.Msg { return lookAgain{round} })
	case lookAgain:
		if msg.round == m.round {
			return m, m.ask()
		}
	case tea.KeyPressMsg:
		return m.key(msg)
	}
	return m, nil
}

func (m *model) take(s seen) {
	m.err = s.err
	if s.err != nil {
		return // what was seen last stays
	}
	switch {
	case s.devices != nil:
		m.devices = s.devices
	case s.topics != nil:
		m.topics = s.topics
	case s.overview != nil:
		m.overview = s.overview
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

// typed changes the filter.
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
	return m, m.ask()
}

func (m *model) goTo(p page) (tea.Model, tea.Cmd) {
	m.page, m.offset, m.filter = p, 0, ""
	return m, m.ask()
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
	return m, m.ask()
}

// View implements tea.Model.
func (m *model) View() tea.View {
	var b strings.Builder
	head := m.look.accent.Render("weir top")
	for i, title := range titles {
		text := fmt.Sprintf("%d %s", i+1, title)
		if page(i) == m.page {
			text = m.look.bold.Underline(true).Render(text)
		} else {
			text = m.look.faint.Render(text)
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
	waiting := []string{m.look.faint.Render("waiting for the console…")}
	switch m.page {
	case devicesPage:
		if m.devices == nil {
			return waiting
		}
		return m.look.devices(m.devices, m.width)
	case topicsPage:
		if m.topics == nil {
			return waiting
		}
		all := m.look.topics(m.topics, m.filter, m.width)
		return append(all[:1:1], all[min(len(all), 1+m.offset):]...)
	case pipelinesPage:
		return m.look.pipelines(m.overview.Pipelines, m.width)
	default:
		return m.look.overview(m.overview, m.width)
	}
}

func (m *model) foot() string {
	switch {
	case m.err != nil:
		return m.look.bad.Render(plain(m.err.Error()))
	case m.typing:
		return "find: " + plain(m.filter) + "▏" + m.look.faint.Render("  enter keeps it, esc drops it")
	case m.page == devicesPage && m.devices != nil:
		last := min(m.devices.Matched, m.offset+len(m.devices.Rows))
		return m.look.faint.Render(fmt.Sprintf("%d–%d of %d%s   / find   ↑↓ scroll   tab next   q quit", min(m.offset+1, last), last, m.devices.Matched, quoted(m.filter)))
	case m.page == topicsPage:
		return m.look.faint.Render("/ find" + quoted(m.filter) + "   ↑↓ scroll   tab next   q quit")
	}
	return m.look.faint.Render("tab next   1–4 pages   q quit   " + m.client.URL)
}

func quoted(filter string) string {
	if filter == "" {
		return ""
	}
	return " with “" + plain(filter) + "”"
}
