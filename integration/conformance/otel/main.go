// Command otel is an OpenTelemetry Collector with its own OTLP receiver, and an exporter that writes down what came in, a line each.
// It takes the arguments of every such collector: --config FILE.
// A test of what we export: never a part of a product.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"sync"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

// line is what came in at once.
type line struct {
	// Metrics and Logs are as OpenTelemetry writes them in JSON.
	Metrics json.RawMessage `json:"metrics,omitempty"`
	Logs    json.RawMessage `json:"logs,omitempty"`
	// Prometheus has the name of each metric as Prometheus makes it from OTLP.
	Prometheus map[string]string `json:"prometheus,omitempty"`
}

// config says where it is written down.
type config struct {
	Path string `mapstructure:"path"`
}

// writer appends lines to a file.
type writer struct {
	path string
	lock sync.Mutex
}

func main() {
	command := otelcol.NewCommand(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "otel", Description: "a receiver of exports, for a test", Version: "test"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{
				ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory()},
				DefaultScheme:     "file",
			},
		},
	})
	if err := command.Execute(); err != nil {
		log.Fatal(err)
	}
}

func factories() (otelcol.Factories, error) {
	receivers, err := otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}

	lines := exporter.NewFactory(
		component.MustNewType("lines"),
		func() component.Config { return &config{} },
		exporter.WithMetrics(func(_ context.Context, _ exporter.Settings, cfg component.Config) (exporter.Metrics, error) {
			return &metrics{writer: writer{path: cfg.(*config).Path}}, nil
		}, component.StabilityLevelStable),
		exporter.WithLogs(func(_ context.Context, _ exporter.Settings, cfg component.Config) (exporter.Logs, error) {
			return &logs{writer: writer{path: cfg.(*config).Path}}, nil
		}, component.StabilityLevelStable),
	)

	exporters, err := otelcol.MakeFactoryMap[exporter.Factory](lines)
	if err != nil {
		return otelcol.Factories{}, err
	}

	return otelcol.Factories{Receivers: receivers, Exporters: exporters, Telemetry: otelconftelemetry.NewFactory()}, nil
}

type metrics struct {
	component.StartFunc
	component.ShutdownFunc
	writer writer
}

func (*metrics) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (m *metrics) ConsumeMetrics(_ context.Context, data pmetric.Metrics) error {
	text, err := (&pmetric.JSONMarshaler{}).MarshalMetrics(data)
	if err != nil {
		return err
	}

	names, err := namesOf(data)
	if err != nil {
		return err
	}

	return m.writer.write(line{Metrics: text, Prometheus: names})
}

type logs struct {
	component.StartFunc
	component.ShutdownFunc
	writer writer
}

func (*logs) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (l *logs) ConsumeLogs(_ context.Context, data plog.Logs) error {
	text, err := (&plog.JSONMarshaler{}).MarshalLogs(data)
	if err != nil {
		return err
	}

	return l.writer.write(line{Logs: text})
}

// namesOf has the name that Prometheus gives to each metric, with the suffixes that it adds.
func namesOf(data pmetric.Metrics) (map[string]string, error) {
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	names := map[string]string{}

	for _, resource := range data.ResourceMetrics().All() {
		for _, scope := range resource.ScopeMetrics().All() {
			for _, metric := range scope.Metrics().All() {
				var kind otlptranslator.MetricType = otlptranslator.MetricTypeGauge
				if metric.Type() == pmetric.MetricTypeSum {
					kind = otlptranslator.MetricTypeMonotonicCounter
				}

				name, err := namer.Build(otlptranslator.Metric{Name: metric.Name(), Unit: metric.Unit(), Type: kind})
				if err != nil {
					return nil, err
				}

				names[metric.Name()] = name
			}
		}
	}

	return names, nil
}

func (w *writer) write(one line) error {
	text, err := json.Marshal(one)
	if err != nil {
		return err
	}

	w.lock.Lock()
	defer w.lock.Unlock()

	file, err := os.OpenFile(w.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()

	_, err = file.Write(append(text, '\n'))

	return err
}
