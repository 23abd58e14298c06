package audit

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A pipeline that uses the clock gives other rows when its records are read again, which is not a
// fault of the pipeline.
func TestWindowsOfTheClockAreNotRecomputed(t *testing.T) {
	planTopic := strings.TrimSuffix(lateTopic, lateSuffix) + ".plan"
	for value, want := range map[string]string{
		`{"version":1,"volatile":["NOW","UUID"]}`: "NOW, UUID",
		`{"version":1}`: "",
		`no plan`:       "",
	} {
		w := newWorld(t, inTopic, windowTopic, lateTopic, poisonTopic, planTopic)
		w.config.Windows = WindowConfig{Topic: windowTopic, Size: windowSize, Late: lateTopic, DLQ: poisonTopic, Delay: windowDelay}
		for _, v := range []string{`{"volatile":["RAND"]}`, value} { // the last plan counts
			if err := w.client().ProduceSync(t.Context(), &kgo.Record{Topic: planTopic, Key: []byte("plan"), Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Verify(t.Context(), w.config)
		var volatile *VolatileError
		switch {
		case want == "" && err != nil:
			t.Errorf("plan %s: %v", value, err)
		case want != "" && (!errors.As(err, &volatile) || !strings.Contains(err.Error(), want)):
			t.Errorf("plan %s: got %v, want the names %s", value, err, want)
		}
	}
}
