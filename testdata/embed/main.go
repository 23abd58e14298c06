// Command service counts the lines of orders per customer: a program in another module that embeds
// Weir. It takes a data directory.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir"
)

const sql = `
CREATE TABLE orders (customer STRING, amount INT) WITH (
  'connector' = 'kafka', 'topic' = 'orders', 'value.format' = 'json',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE totals (customer STRING, total INT, PRIMARY KEY (customer) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'totals', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO totals SELECT customer, %s FROM orders GROUP BY customer;`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir := os.Args[1]
	broker, err := weir.OpenBroker(weir.BrokerOptions{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	if err := run(ctx, dir, broker); err != nil {
		fmt.Println(err)
	}
	if err := broker.Close(); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, dir string, broker *weir.Broker) error {
	if err := broker.CreateTopic(ctx, "orders", 1); err != nil {
		return err
	}
	if err := order(ctx, broker.Addr()); err != nil {
		return err
	}
	for _, column := range []string{"SUM(amonut)", "SUM(amount)", "MAX(amount)"} {
		if err := total(ctx, dir, column); err != nil {
			return err
		}
	}
	return nil
}

// total runs the pipeline with one aggregate. The last one does not fit the state of the one before
// it.
func total(ctx context.Context, dir, column string) error {
	p, err := weir.Compile(fmt.Sprintf(sql, column), weir.WithName("totals"))
	var syntax *weir.SyntaxError
	if errors.As(err, &syntax) {
		fmt.Printf("line %d, column %d: %s (%s)\n", syntax.Line, syntax.Column, syntax.Message, syntax.Hint)
		return nil
	}
	if err != nil {
		return err
	}
	result, err := p.Run(ctx, weir.Options{DataDir: dir})
	var changed *weir.StateChangedError
	if errors.As(err, &changed) {
		fmt.Printf("%s, %s:\n%s", changed.Pipeline, weir.Classify(err), changed.Report)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Printf("%d records processed\n", result.Records)
	return nil
}

// order writes three orders of two customers.
func order(ctx context.Context, addr string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		return err
	}
	defer client.Close()
	return client.ProduceSync(ctx,
		kgo.StringRecord(`{"customer":"ada","amount":3}`),
		kgo.StringRecord(`{"customer":"bob","amount":4}`),
		kgo.StringRecord(`{"customer":"ada","amount":5}`),
	).FirstErr()
}
