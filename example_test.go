package weir_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir"
)

const totals = `
SET 'pipeline.name' = 'totals';
CREATE TABLE orders (customer STRING, amount INT) WITH (
  'connector' = 'kafka', 'topic' = 'orders', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE totals (customer STRING, total INT, PRIMARY KEY (customer) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'totals', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO totals SELECT customer, SUM(amount) FROM orders GROUP BY customer;`

// openWithOrders opens a broker on a temporary directory, with three orders in the topic orders.
func openWithOrders() (dir string, broker *weir.Broker, closeAll func()) {
	dir, err := os.MkdirTemp("", "weir-example")
	if err != nil {
		panic(err)
	}
	broker, err = weir.OpenBroker(weir.BrokerOptions{Dir: dir})
	if err != nil {
		panic(err)
	}
	if err := broker.CreateTopic(context.Background(), "orders", 1); err != nil {
		panic(err)
	}
	order(context.Background(), broker, `{"customer":"ada","amount":3}`, `{"customer":"bob","amount":4}`, `{"customer":"ada","amount":5}`)
	return dir, broker, func() {
		if err := errors.Join(broker.Close(), os.RemoveAll(dir)); err != nil {
			panic(err)
		}
	}
}

// order writes orders, as JSON.
func order(ctx context.Context, broker *weir.Broker, orders ...string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr()), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		panic(err)
	}
	defer client.Close()
	for _, o := range orders {
		if err := client.ProduceSync(ctx, kgo.StringRecord(o)).FirstErr(); err != nil {
			panic(err)
		}
	}
}

func ExampleCompile() {
	p, err := weir.Compile(totals)
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Name())
	// Output: totals
}

func ExampleWithName() {
	unnamed := strings.Replace(totals, "SET 'pipeline.name' = 'totals';", "", 1)
	p, err := weir.Compile(unnamed, weir.WithName("shop-a-totals"))
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Name())
	// Output: shop-a-totals
}

func ExampleSyntaxError() {
	_, err := weir.Compile(strings.Replace(totals, "SUM(amount)", "SUM(amonut)", 1))
	var syntax *weir.SyntaxError
	if errors.As(err, &syntax) {
		fmt.Println(syntax.Line, syntax.Column)
		fmt.Println(syntax.Message)
		fmt.Println(syntax.Hint)
		fmt.Println(syntax.Snippet)
	}
	// Output:
	// 7 41
	// column amonut not found
	// did you mean amount?
	//    7 | INSERT INTO totals SELECT customer, SUM(amonut) FROM orders GROUP BY customer;
	//                                                ^
}

func ExamplePipeline_Explain() {
	p, err := weir.Compile(totals)
	if err != nil {
		panic(err)
	}
	plan := p.Explain() // stages, relations, topics and state
	title, _, _ := strings.Cut(plan, "\n")
	fmt.Println(title)
	// Output: pipeline totals
}

func ExamplePipeline_ExplainSVG() {
	p, err := weir.Compile(totals)
	if err != nil {
		panic(err)
	}
	fmt.Println(strings.HasPrefix(p.ExplainSVG(), "<svg "))
	// Output: true
}

func ExamplePipeline_Run() {
	dir, _, closeAll := openWithOrders()
	defer closeAll()
	p, err := weir.Compile(totals)
	if err != nil {
		panic(err)
	}
	result, err := p.Run(context.Background(), weir.Options{DataDir: dir, UntilEnd: true})
	if err != nil {
		panic(err)
	}
	fmt.Println(result.Records, "records")
	// The next run continues there.
	result, err = p.Run(context.Background(), weir.Options{DataDir: dir, UntilEnd: true})
	fmt.Println(result.Records, "records", err)
	// Output:
	// 3 records
	// 0 records <nil>
}

func ExampleStateChangedError() {
	dir, _, closeAll := openWithOrders()
	defer closeAll()
	run := func(sql string) error {
		p, err := weir.Compile(sql)
		if err != nil {
			return err
		}
		_, err = p.Run(context.Background(), weir.Options{DataDir: dir, UntilEnd: true})
		return err
	}
	if err := run(totals); err != nil {
		panic(err)
	}
	err := run(strings.Replace(totals, "SUM(amount)", "MAX(amount)", 1))
	var changed *weir.StateChangedError
	if errors.As(err, &changed) {
		fmt.Println(changed.Pipeline)
		fmt.Print(changed.Report)
	}
	// Output:
	// totals
	//   lost: Aggregate by customer: SUM(amount); keys customer STRING; SUM of INT (stage2)
	//         no relation keeps the same state
	//   new:  Aggregate by customer: MAX(amount); keys customer STRING; MAX of INT
}

func ExamplePipeline_Status() {
	_, broker, closeAll := openWithOrders()
	defer closeAll()
	p, err := weir.Compile(totals)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	done := make(chan error)
	go func() {
		_, err := p.Run(ctx, weir.Options{Brokers: []string{broker.Addr()}})
		done <- err
	}()
	for ticker := time.Tick(10 * time.Millisecond); !p.Status().Ready() || p.Status().Workers[0].Committed == 0; {
		<-ticker
	}
	fmt.Println(p.Status().Workers[0].Phase)
	stop() // commits or aborts the open transaction
	fmt.Println(<-done, p.Status().Ready())
	// Output:
	// running
	// <nil> false
}

func ExampleOpenBroker() {
	dir, err := os.MkdirTemp("", "weir-example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	broker, err := weir.OpenBroker(weir.BrokerOptions{Dir: dir})
	if err != nil {
		panic(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr())) // any Kafka client
	if err != nil {
		panic(err)
	}
	fmt.Println(client.Ping(context.Background()))
	client.Close()
	fmt.Println(broker.Close())
	// Output:
	// <nil>
	// <nil>
}

func ExampleBroker_CreateTopic() {
	_, broker, closeAll := openWithOrders()
	defer closeAll()
	fmt.Println(broker.CreateTopic(context.Background(), "payments", 4))
	// Output: <nil>
}

func ExampleClassify() {
	p, err := weir.Compile(totals)
	if err != nil {
		panic(err)
	}
	_, err = p.Run(context.Background(), weir.Options{})
	switch weir.Classify(err) {
	case weir.Retryable:
		fmt.Println("run it again in a moment:", err)
	case weir.Fenced:
		fmt.Println("leave it to the process that has taken over:", err)
	case weir.Refused:
		fmt.Println("fix this first:")
		fmt.Println(strings.ReplaceAll(err.Error(), ", or ", ",\nor "))
	}
	// Output:
	// fix this first:
	// pipeline totals: no brokers: set Options.Brokers for Kafka,
	// or Options.DataDir for an embedded broker
}

func ExampleOptions_Validate() {
	o := weir.Options{Brokers: []string{"kafka-1:9092"}, DataDir: "data"}
	fmt.Println(o.Validate())
	// Output: options Brokers and DataDir are both set: choose Kafka or an embedded broker
}

func ExampleTest() {
	dir, err := os.MkdirTemp("", "weir-example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	const test = `send orders
{"customer":"ada","amount":3}
{"customer":"ada","amount":5}
end
expect totals
{"customer":"ada","total":8}
`
	err = errors.Join(os.WriteFile(filepath.Join(dir, "totals.sql"), []byte(totals), 0o600), os.WriteFile(filepath.Join(dir, "totals.case"), []byte(test), 0o600))
	if err != nil {
		panic(err)
	}
	results, err := weir.Test(dir)
	if err != nil {
		panic(err)
	}
	for _, r := range results {
		fmt.Println(filepath.Base(r.Test), r.OK)
		fmt.Print(r.Err, r.Diff)
	}
	// Output: totals.case true
}
