package main

// mutation is a fault that a script must find.
type mutation struct {
	fault   string
	file    string
	scripts string // end of the regular expression of the scripts to run, those that should find it; "" for all of the package
	edits   [][2]string
}

// mutations are the faults that the scripts of each package must find.
var mutations = []mutation{
	{"errors of writes are not looked at", "engine/transaction.go", "WriteRefused", [][2]string{
		{"return s.explainWrite(ctx, s.written.Err())", "return nil"},
	}},
	{"the commit comes before the flush", "engine/transaction.go", "OffsetsRefused", [][2]string{
		{"if failed = s.complete(ctx); failed != nil {", "defer func() { _ = s.complete(ctx) }()\n\t\tif failed != nil {"},
	}},
	{"a commit with an unknown outcome is taken for an abort", "engine/transaction.go", "CommitUnanswered", [][2]string{
		{"if err != nil {\n\t\ts.abort(AbortUnknown)", "if err != nil && committed {\n\t\ts.abort(AbortUnknown)"},
	}},
	{"UNKNOWN_SERVER_ERROR is taken for an abort", "engine/transaction.go", "CommitAnsweredUnknown", [][2]string{
		{"s.ending.End(ctx, s.group, try)", "s.group.End(ctx, try)"},
	}},
	{"a commit with an unknown outcome is taken for a commit", "engine/transaction.go", "CommitUnanswered", [][2]string{
		{"done := s.take()\n\tif err != nil {", "done := s.take()\n\tif err != nil {\n\t\tcommitted, err = true, nil\n\t}\n\tif err != nil {"},
	}},
	{"the overlay is kept after an abort", "engine/transaction.go", "OffsetsRefused", [][2]string{
		{"t.did.reset()\n\tt.store.Abort()", "t.did.reset()"},
	}},
	{"the watermark is kept after an abort", "engine/transaction.go", "WatermarkAfterAbort", [][2]string{
		{"if t.Task != nil {\n\t\tt.Reset()\n\t}", ""},
	}},
	{"the position is ahead of the rows", "engine/ledgers.go", "OffsetsRefused", [][2]string{
		{"Next: max(c.next, c.read), End", "Next: max(c.next, c.read) + 1, End"},
	}},
	{"the local copy is written before the commit", "engine/transaction.go", "CommitUnanswered", [][2]string{
		{"t.changes = t.ledger.records(s.produce)\n", "t.changes = t.ledger.records(s.produce)\n\t\t_ = t.store.Commit(t.store.Offset())\n"},
	}},
	{"records are sent twice", "engine/transaction.go", "OffsetsRefused", [][2]string{
		{"\ts.out.Sent()\n", ""},
	}},
	{"the state covers more of the changelog than it has read", "engine/transaction.go", "(StateOfLost|RevokeDuringRestore|Crash)", [][2]string{
		{"at = t.changes[n-1].Offset + 1", "at = t.changes[n-1].Offset + 6"},
	}},
	{"the end of a bounded input is not repeated after an abort", "engine/transaction.go", "AbortOfBoundedEnd", [][2]string{
		{"s.rewound = true", ""},
	}},
	{"the position moves on with an abort", "engine/ledgers.go", "OffsetsRefused", [][2]string{
		{"if committed && c.settled {", "if c.settled {"},
	}},
	{"offsets are committed in no generation", "engine/ledgers.go", "HealedByMember", [][2]string{
		{"req.MemberID, req.Generation = client.GroupMetadata()", "req.Generation = -1"},
	}},
	{"offsets that the group refuses count as committed", "engine/ledgers.go", "HealedByMember", [][2]string{
		{"return false, nil\n\t\t\t}", "return true, nil\n\t\t\t}"},
	}},
	{"a transaction is committed without the records that were polled", "engine/session.go", "PartitionComes", [][2]string{
		{"if s.open {\n\t\t\tif err := s.end(kgo.TryAbort); err != nil {", "if s.open {\n\t\t\tif err := s.end(kgo.TryCommit); err != nil {"},
	}},
	{"the state of a lost partition is kept", "engine/session.go", "(StateOfLost|RevokeDuringRestore|Swap)", [][2]string{
		{"delete(s.tasks, id)\n\t\t\ts.Status.released(s.instance, id)\n\t\t\ts.closeStore(t)\n", "s.Status.released(s.instance, id)\n"},
		{"byStage[t.stage] = append(byStage[t.stage], t)", "if t.Task == nil {\n\t\t\tbyStage[t.stage] = append(byStage[t.stage], t)\n\t\t}"},
	}},
	{"a partition is read before its state is restored", "engine/resume.go", "(PollDuringRestore|RevokeDuringRestore|StateOfLost)", [][2]string{
		{"select {\n\tcase <-c.restored:\n\tcase <-ctx.Done():\n\t\treturn committed, ctx.Err()\n\t}", ""},
	}},
	{"the position does not decide where a partition is read on", "engine/resume.go", "HealedByMember", [][2]string{
		{"return kgo.NewOffset().At(next), nil", "return committed, nil"},
	}},
	{"a commit that is not in the log counts as one", "produce/session.go", "CommitAnsweredUnknown", [][2]string{
		{"if committed < t.readings {", "if committed < 0 {"},
	}},
	{"a producer's refused writes are not looked at", "produce/session.go", "WriteRefused", [][2]string{
		{"errors.Join(s.client.Flush(ctx), writes.Err())", "s.client.Flush(ctx)"},
	}},
	{"a producer reads its source on from where it was, not from the position", "produce/session.go", "", [][2]string{
		{"s.src.Seek(last.Position)", "s.src.Seek(s.src.Position())"},
	}},
	{"alerts are told before they are committed", "alert/session.go", "", [][2]string{
		{"if known {", "if known || err == nil {"},
	}},
}
