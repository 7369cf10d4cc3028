// Command go-peer is the other end of TLS in tests, by the packages crypto/tls and net/http of Go: a client of the router, or an
// endpoint of it. Neither keeps a connection for a second request.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
)

func main() {
	log.SetFlags(0)
	connect := flag.String("connect", "", "as a client: the address of the router; without it, this is an endpoint")
	name := flag.String("name", "", "as a client: the name that the router's certificate has to have")
	times := flag.Int("times", 1, "as a client: how many requests are made, each over a connection of its own")
	authority := flag.String("authority", "", "the authority of the peer's certificate; an endpoint with one refuses callers without")
	cert := flag.String("cert", "", "the own certificate")
	key := flag.String("key", "", "its key")
	version := flag.String("version", "", "the version that is spoken: 1.2 or 1.3")
	alpn := flag.String("alpn", "", "the protocol that is offered: h2 or http/1.1")
	flag.Parse()
	config, err := configure(*version, *alpn, *authority, *cert, *key)
	if err == nil && *connect != "" {
		config.ServerName = *name
		err = ask(*connect, config, *times)
	} else if err == nil {
		err = serve(config)
	}
	if err != nil {
		log.Fatal("go-peer: ", err)
	}
}

func configure(version, alpn, authority, cert, key string) (*tls.Config, error) {
	versions := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	spoken, known := versions[version]
	if !known {
		return nil, errors.New("-version is 1.2 or 1.3")
	}
	config := &tls.Config{MinVersion: spoken, MaxVersion: spoken, NextProtos: []string{alpn}}
	if authority != "" {
		pem, err := os.ReadFile(authority)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: there is no certificate in it", authority)
		}
		config.RootCAs, config.ClientCAs = pool, pool
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// ask makes requests of the router, and prints of each the version, the protocol, whether a session was taken up again, and the
// answer.
func ask(address string, config *tls.Config, times int) error {
	config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for range times {
		transport := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: config.NextProtos[0] == "h2"}
		if !transport.ForceAttemptHTTP2 {
			transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		}
		request, err := http.NewRequest("GET", "https://"+address+"/", nil)
		if err != nil {
			return err
		}
		request.Host = "web"
		response, err := transport.RoundTrip(request)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		state := response.TLS
		fmt.Println(tls.VersionName(state.Version), state.NegotiatedProtocol, response.Proto, resumed(state), response.StatusCode, string(body))
		transport.CloseIdleConnections()
	}
	return nil
}

// serve answers each request with what is known of its connection, until the standard input ends.
func serve(config *tls.Config) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{TLSConfig: config, ErrorLog: log.Default()}
	if config.NextProtos[0] != "h2" {
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	server.Handler = http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		state, caller := request.TLS, []string{}
		for _, certificate := range state.PeerCertificates {
			caller = append(caller, certificate.Subject.CommonName)
		}
		writer.Header().Set("Connection", "close")
		fmt.Fprint(writer, tls.VersionName(state.Version), " ", state.NegotiatedProtocol, " ", request.Proto, " ", resumed(state), " ",
			state.ServerName, " ", strings.Join(caller, ","))
	})
	fmt.Printf("listening on %s\n", listener.Addr())
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		os.Exit(0)
	}()
	return server.ServeTLS(listener, "", "")
}

func resumed(state *tls.ConnectionState) string {
	if state.DidResume {
		return "resumed"
	}
	return "new"
}
