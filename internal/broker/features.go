package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// RequireTransactionV2 returns an error with a remedy if the cluster has not enabled
// transaction.version 2. Without it a delayed request of an old transaction can become part of the
// next one of the same producer (KIP-890). It is a feature of the cluster, independent of the
// brokers' version (KIP-1022).
func RequireTransactionV2(ctx context.Context, client *kgo.Client) error {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "weir", "1"
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("read the cluster's features: %w", err)
	}
	supported := int16(-1)
	for _, f := range resp.SupportedFeatures {
		if f.Name == "transaction.version" {
			supported = f.MaxVersion
		}
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" && f.MaxVersionLevel >= 2 {
			return nil
		}
	}
	if supported < 2 {
		return fmt.Errorf("%w: its brokers do not support transaction.version 2: use Kafka 4.0 or later", ErrNoTransactionV2)
	}
	return fmt.Errorf("%w: enable it with kafka-features.sh --bootstrap-server HOST:PORT upgrade --feature transaction.version=2", ErrNoTransactionV2)
}

// ErrNoTransactionV2 marks the errors of RequireTransactionV2 that are about the cluster.
var ErrNoTransactionV2 = fmt.Errorf("%w: the cluster has not enabled transaction.version 2 (KIP-890), which exactly-once requires", kerr.UnsupportedVersion)
