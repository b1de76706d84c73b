// Command discovery publishes one affiliate with Talos' own client at a discovery service on this machine, and writes down
// what is in it. A test of our readers: never a part of a product, and never to be pointed at a service of others.
//
// The line "delete" on stdin takes the affiliate back, the end of stdin ends the program.
package main

import (
	"bufio"
	"context"
	"crypto/aes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/siderolabs/discovery-api/api/v1alpha1/client/pb"
	"github.com/siderolabs/discovery-client/pkg/client"
	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protojson"
)

const (
	clusterID   = "conformance-throw-away"
	affiliateID = "7x1SuC8Ege5BGXdAfTEff5iQnlWZLfv9h1LGMxA2pYkC"
	ttl         = 30 * time.Minute
)

func main() {
	endpoint := flag.String("endpoint", "", "host:port of the service, on this machine")
	dump := flag.String("dump", "", "file for what was published, as JSON")
	flag.Parse()

	if err := run(*endpoint, *dump); err != nil {
		log.Fatal(err)
	}
}

func run(endpoint, dump string) error {
	if host, _, err := net.SplitHostPort(endpoint); err != nil || !net.ParseIP(host).IsLoopback() {
		return fmt.Errorf("%q is not on this machine", endpoint)
	}

	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}

	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}

	publisher, err := client.NewClient(client.Options{
		Cipher:        block,
		Endpoint:      endpoint,
		ClusterID:     clusterID,
		AffiliateID:   affiliateID,
		ClientVersion: "v1.13.9",
		TTL:           ttl,
		Insecure:      true,
	})
	if err != nil {
		return err
	}

	affiliate := filled()
	if err := publisher.SetLocalData(affiliate, nil); err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	notify := make(chan struct{}, 16)
	ended := make(chan error, 1)

	go func() { ended <- publisher.Run(ctx, zap.NewNop(), notify) }()

	if err := writeDown(dump, key, affiliate); err != nil {
		return err
	}

	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if lines.Text() != "delete" {
			return fmt.Errorf("unknown order %q", lines.Text())
		}

		publisher.DeleteLocalAffiliate()
	}

	cancel()

	return <-ended
}

// filled gives each field a value of its own, so that a mixed-up field shows.
func filled() *client.Affiliate {
	ip := func(text string) []byte {
		bytes, _ := netip.MustParseAddr(text).MarshalBinary() //nolint:errcheck // it never fails

		return bytes
	}

	return &client.Affiliate{
		Affiliate: &pb.Affiliate{
			NodeId:          affiliateID,
			Addresses:       [][]byte{ip("10.1.2.3"), ip("2001:db8::3")},
			Hostname:        "node-1.example.org",
			Nodename:        "node-1",
			MachineType:     "controlplane",
			OperatingSystem: "Talos (v1.13.9)",
			Kubespan: &pb.KubeSpan{
				PublicKey:                  "PLPNBddmTgHJhtw0vxltq1ZBdPP9RNOEUd5JjJZzBRY=",
				Address:                    ip("fd50:8d60:4238:6302:f857:23ff:fe21:d1e0"),
				AdditionalAddresses:        []*pb.IPPrefix{{Ip: ip("10.244.3.0"), Bits: 24}},
				ExcludeAdvertisedAddresses: []*pb.IPPrefix{{Ip: ip("10.244.4.0"), Bits: 25}},
			},
			ControlPlane: &pb.ControlPlane{ApiServerPort: 6443},
		},
		Endpoints: []*pb.Endpoint{
			{Ip: ip("192.0.2.3"), Port: 51820},
			{Ip: ip("2001:db8::3"), Port: 51821},
		},
	}
}

func writeDown(file string, key []byte, affiliate *client.Affiliate) error {
	form := protojson.MarshalOptions{UseProtoNames: true}

	body, err := form.Marshal(affiliate.Affiliate)
	if err != nil {
		return err
	}

	endpoints := make([]map[string]any, 0, len(affiliate.Endpoints))
	for _, e := range affiliate.Endpoints {
		endpoints = append(endpoints, map[string]any{"ip": base64.StdEncoding.EncodeToString(e.Ip), "port": e.Port})
	}

	text, err := json.MarshalIndent(map[string]any{
		"clusterID":   clusterID,
		"affiliateID": affiliateID,
		"key":         hex.EncodeToString(key),
		"affiliate":   json.RawMessage(body),
		"endpoints":   endpoints,
	}, "", "  ")
	if err != nil {
		return err
	}

	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}

	return os.Rename(file+".new", file)
}
