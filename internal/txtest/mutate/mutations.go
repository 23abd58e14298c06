package main

// mutation is a fault that a script must detect.
type mutation struct {
	fault   string
	file    string
	scripts string // end of the regular expression of the scripts that should detect it; "" for all of the package
	edits   [][2]string
}

// mutations are the faults that the scripts of each package must detect.
var mutations = []mutation{
	{"errors of writes are not looked at", "internal/engine/commit.go", "WriteRefused", [][2]string{
		{"return s.explainWrite(ctx, s.tx.written.Err())", "return nil"},
	}},
	{"the commit comes before the flush", "internal/engine/commit.go", "OffsetsRefused", [][2]string{
		{"if failed = s.complete(ctx); failed != nil {", "defer func() { _ = s.complete(ctx) }()\n\t\tif failed != nil {"},
	}},
	{"a commit with an unknown outcome is taken for an abort", "internal/engine/commit.go", "CommitUnanswered", [][2]string{
		{"if err != nil {\n\t\ts.w.pace.failed(read, done.Took, err)", "if err != nil && committed {\n\t\ts.w.pace.failed(read, done.Took, err)"},
	}},
	{"UNKNOWN_SERVER_ERROR is taken for an abort", "internal/engine/commit.go", "CommitAnsweredUnknown", [][2]string{
		{"committed, err := s.group.End(ctx, try)", "committed, err := s.group.End(ctx, try)\n\tif errors.Is(err, broker.ErrUnknownEnd) {\n\t\terr = nil\n\t}"},
	}},
	{"a commit with an unknown outcome is taken for a commit", "internal/engine/commit.go", "CommitUnanswered", [][2]string{
		{"done := s.tx.finish()\n\tif err != nil {", "done := s.tx.finish()\n\tif err != nil {\n\t\tcommitted, err = true, nil\n\t}\n\tif err != nil {"},
	}},
	{"the overlay is kept after an abort", "internal/engine/task.go", "OffsetsRefused", [][2]string{
		{"t.counts.reset()\n\tt.store.Abort()", "t.counts.reset()"},
	}},
	{"the watermark is kept after an abort", "internal/engine/task.go", "WatermarkAfterAbort", [][2]string{
		{"if t.op != nil {\n\t\tt.op.Rollback()\n\t}", ""},
	}},
	{"the position is ahead of the rows", "internal/engine/ledgers.go", "OffsetsRefused", [][2]string{
		{"Next: max(c.next, c.read), End", "Next: max(c.next, c.read) + 1, End"},
	}},
	{"the local copy is written before the commit", "internal/engine/commit.go", "CommitUnanswered", [][2]string{
		{"t.changes = t.ledger.records(s.tx.produce)\n", "t.changes = t.ledger.records(s.tx.produce)\n\t\t_ = t.store.Commit(t.store.Offset())\n"},
	}},
	{"records are sent twice", "internal/engine/transaction.go", "OffsetsRefused", [][2]string{
		{"\ttx.out.Sent()\n", ""},
	}},
	{"the state covers more of the changelog than it has read", "internal/engine/task.go", "(StateOfLost|RevokeDuringRestore|Crash)", [][2]string{
		{"at = changes[n-1].Offset + 1", "at = changes[n-1].Offset + 6"},
	}},
	{"the end of a bounded input is not repeated after an abort", "internal/engine/commit.go", "AbortOfBoundedEnd", [][2]string{
		{"s.rolledBack = true", ""},
	}},
	{"the position moves on with an abort", "internal/engine/ledgers.go", "OffsetsRefused", [][2]string{
		{"if committed && c.resumed {", "if c.resumed {"},
	}},
	{"offsets are committed in no generation", "internal/engine/ledgers.go", "HealedByMember", [][2]string{
		{"req.MemberID, req.Generation = client.GroupMetadata()", "req.Generation = -1"},
	}},
	{"offsets that the group refuses count as committed", "internal/engine/ledgers.go", "HealedByMember", [][2]string{
		{"return false, nil\n\t\t\t}", "return true, nil\n\t\t\t}"},
	}},
	{"a transaction is committed without the records that were polled", "internal/engine/process.go", "PartitionComes", [][2]string{
		{"return s.end(kgo.TryAbort)", "return s.end(kgo.TryCommit)"},
	}},
	{"the state of a lost partition is kept", "internal/engine/restore.go", "(StateOfLost|RevokeDuringRestore|Swap)", [][2]string{
		{"delete(s.tasks, id)\n\t\t\ts.cfg.Status.released(s.w.instance, id)\n\t\t\ts.closeStore(t)\n", "s.cfg.Status.released(s.w.instance, id)\n"},
		{"byStage[t.stage] = append(byStage[t.stage], t)", "if t.op == nil {\n\t\t\tbyStage[t.stage] = append(byStage[t.stage], t)\n\t\t}"},
	}},
	{"a restore goes on when a partition is revoked", "internal/engine/assignment.go", "RestoreHandsOverCopy", [][2]string{
		{"s.interrupt(errRevoked)", ""},
	}},
	{"a partition is read before its state is restored", "internal/engine/resume.go", "(PollDuringRestore|RevokeDuringRestore|StateOfLost)", [][2]string{
		{"select {\n\tcase <-c.restored:\n\tcase <-ctx.Done():\n\t\treturn committed, ctx.Err()\n\t}", ""},
	}},
	{"the position does not decide where a partition is read on", "internal/engine/resume.go", "HealedByMember", [][2]string{
		{"return kgo.NewOffset().At(next), nil", "return committed, nil"},
	}},
	{"a commit that is not in the log counts as one", "internal/produce/session.go", "CommitAnsweredUnknown", [][2]string{
		{"if committed.Readings < t.readings || t.commit.Readings == 0", "if t.commit.Readings == 0"},
	}},
	{"a producer's refused writes are not looked at", "internal/produce/session.go", "WriteRefused", [][2]string{
		{"errors.Join(s.client.Flush(ctx), writes.Err())", "s.client.Flush(ctx)"},
	}},
	{"a producer reads its source on from where it was, not from the position", "internal/produce/session.go", "", [][2]string{
		{"s.p.src.Seek(last.Position)", "s.p.src.Seek(s.p.src.Position())"},
	}},
	{"a source's facts are not written", "internal/produce/session.go", "Facts", [][2]string{
		{"for _, r := range c.facts {", "for _, r := range c.facts[:0] {"},
	}},
	{"a source's facts are not recalled", "internal/produce/session.go", "Facts", [][2]string{
		{"k.Recall(facts)", "clear(facts)\n\t\tk.Recall(facts)"},
	}},
	{"a file of a directory is read on from its beginning", "internal/source/directory/position.go", "UnknownCommit", [][2]string{
		{"if err := c.file.Seek(p.At); err != nil {", "if err := error(nil); err != nil {"},
	}},
	{"files of a directory that were sent are forgotten", "internal/source/directory/position.go", "FilesRemembered", [][2]string{
		{"d.sent[name] = string(hash)", "_, _ = name, hash"},
	}},
	{"alerts are sent before they are committed", "internal/alert/session.go", "", [][2]string{
		{"if known {", "if known || err == nil {"},
	}},
}
