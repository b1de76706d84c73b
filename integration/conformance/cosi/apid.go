package main

import (
	"crypto/tls"
	stdx509 "crypto/x509"
	"errors"
	"net"
	"time"

	"github.com/siderolabs/crypto/x509"
	clientconfig "github.com/siderolabs/talos/pkg/machinery/client/config"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"
	"github.com/siderolabs/talos/pkg/machinery/role"
	"google.golang.org/grpc/credentials"
)

// front listens on this machine as apid does, by mutual TLS with an authority as Talos makes it, and writes the talosconfig
// of a reader as Talos writes it.
func front(talosconfig string) (net.Listener, credentials.TransportCredentials, error) {
	now := time.Now()

	ca, err := secrets.NewTalosCA(now)
	if err != nil {
		return nil, nil, err
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}

	authority := x509.NewCertificateAndKeyFromCertificateAuthority(ca)

	reader, err := secrets.NewAdminCertificateAndKey(now, authority, role.MakeSet(role.Reader), time.Hour)
	if err != nil {
		return nil, nil, err
	}

	config := clientconfig.NewConfig("conformance", []string{listener.Addr().String()}, authority.Crt, reader)
	if err := config.Save(talosconfig); err != nil {
		return nil, nil, err
	}

	creds, err := serverCredentials(ca)

	return listener, creds, err
}

func serverCredentials(ca *x509.CertificateAuthority) (credentials.TransportCredentials, error) {
	pair, err := x509.NewKeyPair(ca,
		x509.IPAddresses([]net.IP{net.IPv4(127, 0, 0, 1)}),
		x509.NotAfter(time.Now().Add(time.Hour)),
		x509.ExtKeyUsage([]stdx509.ExtKeyUsage{stdx509.ExtKeyUsageServerAuth}),
	)
	if err != nil {
		return nil, err
	}

	clients := stdx509.NewCertPool()
	if !clients.AppendCertsFromPEM(ca.CrtPEM) {
		return nil, errors.New("failed to add the authority")
	}

	return credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{*pair.Certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
		MinVersion:   tls.VersionTLS13,
	}), nil
}
