// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/store"
)

// flushTime is how long spans that wait are sent when the server ends.
const flushTime = 5 * time.Second

// tracing makes spans of requests, and of the transactions in them. A nil
// tracing makes none.
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// openTracing returns who makes spans and sends them to a collector (OTLP over
// HTTP); nil when none is configured. A collector that is away costs spans, not
// requests.
func openTracing(ctx context.Context, c config.Traces, b Build, log *slog.Logger) (*tracing, error) {
	if c.Endpoint == "" {
		return nil, nil
	}
	u, err := tracesURL(c.Endpoint)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.String()))
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "configuring traces", Subject: u.Redacted(), Err: err}
	}
	about := resource.NewSchemaless(attribute.String("service.name", "dossier"), attribute.String("service.version", b.Version))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(quiet{exporter, log}), sdktrace.WithResource(about),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cmp.Or(c.Ratio, 1)))),
	)
	return &tracing{provider, provider.Tracer("dossier.dev/dossier/internal/server")}, nil
}

// tracesURL is where spans are sent: an endpoint, with the path that OTLP has for
// traces when it has none.
func tracesURL(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, dossier.Errorf(dossier.KindInvalid, "configuring traces", "traces.endpoint", "want the URL of a collector, such as http://127.0.0.1:4318")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	return u, nil
}

// close sends what waits.
func (t *tracing) close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	return t.provider.Shutdown(ctx)
}

// quiet logs that spans could not be sent, where the library would have a
// handler of the whole process do so.
type quiet struct {
	sdktrace.SpanExporter
	log *slog.Logger
}

// ExportSpans implements sdktrace.SpanExporter.
func (q quiet) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := q.SpanExporter.ExportSpans(ctx, spans); err != nil {
		q.log.WarnContext(ctx, "spans could not be sent", "spans", len(spans), "error", err)
	}
	return nil
}

// begin begins the span of a request, as a part of the trace that it names, if any.
func (t *tracing) begin(r *http.Request) (*http.Request, func()) {
	if t == nil {
		return r, func() {}
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := t.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path),
	))
	return r.WithContext(ctx), func() { span.End() }
}

// describe tells the span of a request to the registry what came of it.
func describe(ctx context.Context, c registry.Call) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetName("registry " + c.Kind)
	span.SetAttributes(
		attribute.Int("http.response.status_code", c.Status), attribute.String("dossier.caller", c.Caller.String()),
		attribute.String("dossier.repository", c.Repository), attribute.String("dossier.reference", c.Reference),
		attribute.Int64("http.request.body.size", c.Received), attribute.Int64("http.response.body.size", c.Sent),
	)
	if c.Status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, http.StatusText(c.Status))
	}
}

// traced is a store whose transactions are spans of the request that they serve.
type traced struct{ store.Store }

func (s traced) span(ctx context.Context, name string, f func(context.Context) error) error {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return f(ctx)
	}
	ctx, span := parent.TracerProvider().Tracer("dossier.dev/dossier/internal/server").Start(ctx, name)
	defer span.End()
	err := f(ctx)
	if kind := dossier.KindOf(err); kind == dossier.KindInternal || kind == dossier.KindUnavailable || kind == dossier.KindStorage {
		span.SetStatus(codes.Error, string(kind))
	}
	return err
}

// View implements store.Store.
func (s traced) View(ctx context.Context, f func(store.Reader) error) error {
	return s.span(ctx, "store view", func(ctx context.Context) error { return s.Store.View(ctx, f) })
}

// Update implements store.Store.
func (s traced) Update(ctx context.Context, f func(store.Tx) error) error {
	return s.span(ctx, "store update", func(ctx context.Context) error { return s.Store.Update(ctx, f) })
}

// UpdateSoon implements store.Store.
func (s traced) UpdateSoon(ctx context.Context, f func(store.Tx) error) error {
	return s.span(ctx, "store update, not waited for", func(ctx context.Context) error { return s.Store.UpdateSoon(ctx, f) })
}

// traceID adds the trace of a request to what is logged about it.
type traceID struct{ slog.Handler }

// Handle implements slog.Handler.
func (h traceID) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace", span.TraceID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h traceID) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceID{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h traceID) WithGroup(name string) slog.Handler { return traceID{h.Handler.WithGroup(name)} }
