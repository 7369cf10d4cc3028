//! Configuration files that are wrong, and where the start says so.

use signpost::config::{self, Errors};
use std::path::Path;

/// A file, and the place, the key path and a phrase of each error that it gives.
type Case = (&'static str, &'static [(usize, usize, &'static str, &'static str)]);

/// Each file stands as a person would write it: without its first line feed.
const CASES: &[Case] = &[
    ("", &[(1, 1, "", "there are no routers")]),
    ("# nothing yet\n", &[(1, 1, "", "there are no routers")]),
    ("routers: []\n", &[(1, 10, "routers", "there are no routers")]),
    ("routers:\n", &[(1, 1, "", "there are no routers")]),
    ("routers: x\n", &[(1, 10, "routers", "expected a list (`- value`), found `x`")]),
    ("routers:\n- x\n", &[(2, 3, "routers[0]", "expected a mapping (`key: value`), found `x`")]),
    (
        "routers:\n- servers: [{}]\n",
        &[(2, 3, "routers[0]", "the key `protocol` is missing; it is one of: http, h2")],
    ),
    ("routers:\n- protocol: http\n", &[(2, 3, "routers[0]", "the router `http` has no servers")]),
    (
        "routers:\n- protocol: http\n  servers: []\n",
        &[(3, 12, "routers[0].servers", "the router `http` has no servers")],
    ),
    (
        "routers:\n- protocol: https\n  servers: [{}]\n",
        &[(2, 13, "routers[0].protocol", "unknown protocol: did you mean `http`? Known here: http, h2")],
    ),
    (
        "routers:\n- protocol: thrift\n  servers: [{}]\n",
        &[(2, 13, "routers[0].protocol", "`thrift` is not supported: Signpost speaks HTTP")],
    ),
    (
        "router:\n- protocol: http\n",
        &[
            (
                1,
                1,
                "router",
                "unknown key: did you mean `routers`? Known here: routers, namers, telemetry, admin, sandboxes, kubernetes, workers, usage",
            ),
            (1, 1, "", "there are no routers"),
        ],
    ),
    // Keys and values of a router and its servers.
    (
        "routers:\n- protocol: http\n  servers:\n  - prot: 4140\n",
        &[(4, 5, "routers[0].servers[0].prot", "did you mean `port`?")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - port: http\n",
        &[(4, 11, "routers[0].servers[0].port", "expected a number from 0 to 65535, found `http`")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - port: 65536\n",
        &[(4, 11, "routers[0].servers[0].port", "found `65536`")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - port: [1]\n",
        &[(4, 11, "routers[0].servers[0].port", "found a list")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - ip: nowhere\n",
        &[(4, 9, "routers[0].servers[0].ip", "expected an IP address such as 127.0.0.1")],
    ),
    (
        "routers:\n- protocol: http\n  servers: [{port: 0}]\n  interpreter: {transformers: [{kind: io.l5d.port}]}\n",
        &[(4, 32, "routers[0].interpreter.transformers[0]", "the key `port` is missing")],
    ),
    (
        "routers:\n- protocol: http\n  servers: [{port: 0}]\n  interpreter: {transformers: [{kind: io.l5d.prot}]}\n",
        &[(4, 39, "routers[0].interpreter.transformers[0].kind", "did you mean `io.l5d.port`")],
    ),
    (
        "namers:\n- kind: io.l5d.rewrite\n  prefix: /r\n  pattern: /a\n  name: /b\n  transformers:\n  - {kind: io.l5d.specificHost, host: a b}\n  - {kind: io.l5d.replace, path: /#/io.l5d.fs/a}\nrouters: [{protocol: http, servers: [{port: 0}]}]\n",
        &[
            (7, 39, "namers[0].transformers[0].host", "expected an address such as 10.0.0.7"),
            (8, 34, "namers[0].transformers[1].path", "expected a name that begins with `/$`"),
        ],
    ),
    (
        "routers:\n- protocol: http\n  servers: [{port: 0}]\n  interpreter:\n    transformers:\n    - {kind: io.l5d.k8s.daemonset, namespace: default, port: incoming}\n    - {kind: io.l5d.k8s.daemonset, namespace: de_fault, port: incoming, service: l5d}\n    - {kind: io.l5d.k8s.daemonset, namespace: default, port: 0, service: l5d, k8sPort: 0}\n",
        &[
            (6, 7, "routers[0].interpreter.transformers[0]", "the key `service` is missing"),
            (7, 47, "routers[0].interpreter.transformers[1].namespace", "expected the name of a namespace"),
            (
                8,
                62,
                "routers[0].interpreter.transformers[2].port",
                "expected the name or the number of a port",
            ),
            (8, 88, "routers[0].interpreter.transformers[2].k8sPort", "expected a number from 1"),
        ],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - trust: me\n",
        &[(
            4,
            12,
            "routers[0].servers[0].trust",
            "expected `nobody`, `everybody` or `{from: [10.244.0.0/16]}`, found `me`",
        )],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - {trust: everybody, clearContext: true}\n",
        &[(4, 13, "routers[0].servers[0].trust", "contradict each other")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - {trust: nobody, clearContext: false}\n",
        &[(4, 13, "routers[0].servers[0].trust", "contradict each other")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - {clearContext: true, trust: {from: [10.0.0.0/8]}}\n",
        &[(4, 33, "routers[0].servers[0].trust", "`trust` lists the trusted callers already")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - overrides: {prefixes: [/a, b], destinations: [/a/**, /*x], \
         addresses: {deny: [x]}, maxEntries: -1, maxBytes: 2000000}\n",
        &[
            (4, 32, "routers[0].servers[0].overrides.prefixes[1]", "not a prefix"),
            (4, 60, "routers[0].servers[0].overrides.destinations[1]", "not a pattern of bound ids"),
            (4, 83, "routers[0].servers[0].overrides.addresses.deny[0]", "expected a range of addresses"),
            (4, 100, "routers[0].servers[0].overrides.maxEntries", "expected a number from 0"),
            (4, 114, "routers[0].servers[0].overrides.maxBytes", "expected a number from 0 to 1048576"),
        ],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - inject:\n    - {dtab: /a}\n    - {when: {path: a}}\n    - {when: {}, sandbox: A}\n",
        &[
            (5, 7, "routers[0].servers[0].inject[0]", "the key `when` is missing: write `when: {}`"),
            (5, 16, "routers[0].servers[0].inject[0].dtab", "not a dtab"),
            (6, 7, "routers[0].servers[0].inject[1]", "expected `dtab`, `sandbox` or both"),
            (6, 21, "routers[0].servers[0].inject[1].when.path", "expected the beginning of a path"),
            (7, 27, "routers[0].servers[0].inject[2].sandbox", "expected a tenant key of lower-case letters"),
        ],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - inject:\n    - dtab: /a => /b\n      when:\n        \
         cookie: {a b: c}\n        header: [x]\n        percent: {share: 101, by: {cook: s}, secret: short}\n",
        &[
            (7, 18, "routers[0].servers[0].inject[0].when.cookie.\"a b\"", "expected the name of a cookie"),
            (8, 17, "routers[0].servers[0].inject[0].when.header", "expected a mapping"),
            (9, 26, "routers[0].servers[0].inject[0].when.percent.share", "expected a number from 0 to 100"),
            (
                9,
                35,
                "routers[0].servers[0].inject[0].when.percent.by",
                "expected `peer` or `{cookie: session}`",
            ),
            (9, 36, "routers[0].servers[0].inject[0].when.percent.by.cook", "unknown key"),
            (
                9,
                54,
                "routers[0].servers[0].inject[0].when.percent.secret",
                "expected a secret of 16 characters",
            ),
        ],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - trust: {from: [10.0.0.0/8, pods, 10.244.1.2/16]}\n",
        &[
            (
                4,
                32,
                "routers[0].servers[0].trust.from[1]",
                "expected a range of addresses such as 10.244.0.0/16 or fd00::/8, or an address, found `pods`",
            ),
            (
                4,
                38,
                "routers[0].servers[0].trust.from[2]",
                "the range is `10.244.0.0/16`: write that, or `10.244.1.2` for this address alone",
            ),
        ],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - trust: {from: []}\n",
        &[(4, 19, "routers[0].servers[0].trust.from", "write `trust: nobody`")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - trust: {}\n",
        &[(
            4,
            12,
            "routers[0].servers[0].trust",
            "a key is missing: `from`, `identities`, `signed`, or several of them",
        )],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - trust: {to: [10.0.0.0/8]}\n",
        &[
            (
                4,
                12,
                "routers[0].servers[0].trust",
                "a key is missing: `from`, `identities`, `signed`, or several of them",
            ),
            (4, 13, "routers[0].servers[0].trust.to", "unknown key"),
        ],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - trust: {signed: {audience: [], keys: [a, b, c, d, ' '], revoked: x}}\n",
        &[
            (4, 32, "routers[0].servers[0].trust.signed.audience", "this list is empty"),
            (4, 55, "routers[0].servers[0].trust.signed.keys[4]", "expected a text"),
            (4, 70, "routers[0].servers[0].trust.signed.revoked", "expected a list"),
        ],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - trust: {signed: {keys: [a, b, c, d, e], maxLifetimeSeconds: 0}}\n",
        &[
            (4, 28, "routers[0].servers[0].trust.signed.keys", "more than 4 files of keys"),
            (4, 65, "routers[0].servers[0].trust.signed.maxLifetimeSeconds", "expected"),
        ],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - trust: {signed: {audience: [a]}, require: all}\n",
        &[
            (4, 21, "routers[0].servers[0].trust.signed", "there are no keys"),
            (4, 47, "routers[0].servers[0].trust.require", "only one of them is there"),
        ],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - trust: {from: 10.0.0.0/8}\n",
        &[(4, 19, "routers[0].servers[0].trust.from", "expected a list")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - clearContext: 1\n",
        &[(4, 19, "routers[0].servers[0].clearContext", "expected `true` or `false`, found `1`")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - maxConcurrentRequests: 0\n",
        &[(4, 28, "routers[0].servers[0].maxConcurrentRequests", "expected a number from 1")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - timestampHeader: 'a b'\n",
        &[(4, 22, "routers[0].servers[0].timestampHeader", "expected the name of a header, found `a b`")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - addForwardedHeader: {by: {kind: host}}\n",
        &[(
            4,
            37,
            "routers[0].servers[0].addForwardedHeader.by.kind",
            "unknown kind; known here: ip, ip:port",
        )],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - addForwardedHeader: {by: {kind: static}}\n",
        &[(4, 30, "routers[0].servers[0].addForwardedHeader.by", "the key `label` is missing")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - tls: {certPath: a}\n",
        &[(4, 10, "routers[0].servers[0].tls", "the key `keyPath` is missing")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - tls: {certPath: a, keyPath: b, requireClientAuth: true}\n",
        &[(4, 55, "routers[0].servers[0].tls.requireClientAuth", "`caCertPath` is missing")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - tls: {certificates: []}\n",
        &[(4, 25, "routers[0].servers[0].tls.certificates", "expected at least one certificate")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - tls: {certPath: a, certificates: [{certPath: a, keyPath: b}]}\n",
        &[(4, 21, "routers[0].servers[0].tls.certPath", "move this into one of them")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - tls: {certPath: a, keyPath: b, protocols: [SSLv3], ciphers: [TLS_RSA_WITH_NULL_SHA]}\n",
        &[
            (4, 48, "routers[0].servers[0].tls.protocols[0]", "expected `TLSv1.2` or `TLSv1.3`"),
            (4, 66, "routers[0].servers[0].tls.ciphers[0]", "expected one of TLS_AES_256_GCM_SHA384"),
        ],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - tls: {ingress: true}\n",
        &[(4, 5, "routers[0].servers[0].tls.ingress", "the router `http` knows no Ingresses")],
    ),
    (
        "routers:\n- protocol: http\n  identifier: {kind: io.l5d.ingress}\n  servers:\n  - {ingressRedirect: {httpsPort: 0}}\n",
        &[(5, 35, "routers[0].servers[0].ingressRedirect.httpsPort", "expected a number from 1")],
    ),
    (
        "routers:\n- protocol: http\n  identifier: {kind: io.l5d.ingress}\n  servers:\n  - {ingressRedirect: {}, tls: {ingress: true, hosts: [a]}}\n",
        &[
            (5, 23, "routers[0].servers[0].ingressRedirect", "this server has `tls` itself"),
            (5, 55, "routers[0].servers[0].tls.hosts", "it belongs to `certPath` and `keyPath`"),
        ],
    ),
    (
        "admin: {tls: {ingress: true, certPath: a, keyPath: b}}\nrouters:\n- {protocol: http, servers: [{}]}\n",
        &[(1, 15, "admin.tls.ingress", "unknown key")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - {trust: {identities: [a.test]}}\n",
        &[(4, 13, "routers[0].servers[0].trust", "which this server does not ask for")],
    ),
    (
        "routers:\n- protocol: http\n  servers:\n  - {proxyProtocol: {}}\n",
        &[(4, 21, "routers[0].servers[0].proxyProtocol", "the key `from` is missing")],
    ),
    (
        "routers:\n- protocol: http\n  client: {tls: {}}\n  servers: [{}]\n",
        &[(3, 17, "routers[0].client.tls", "the key `commonName` is missing")],
    ),
    (
        "routers:\n- protocol: http\n  client: {tls: {commonName: '{host}'}}\n  servers: [{}]\n",
        &[(3, 30, "routers[0].client.tls.commonName", "captures need a `prefix`")],
    ),
    (
        "routers:\n- protocol: http\n  client: {tls: {disableValidation: true, trustCerts: [a]}}\n  servers: [{}]\n",
        &[(3, 37, "routers[0].client.tls.disableValidation", "would not be asked")],
    ),
    (
        "routers:\n- protocol: http\n  label: ''\n  servers: [{}]\n",
        &[(3, 10, "routers[0].label", "expected a text")],
    ),
    (
        "routers:\n- protocol: http\n  bindingTimeoutMs: 0\n  servers: [{}]\n",
        &[(3, 21, "routers[0].bindingTimeoutMs", "expected a number from 1")],
    ),
    (
        "routers:\n- protocol: http\n  bindingCache: {path: 1}\n  servers: [{}]\n",
        &[(3, 18, "routers[0].bindingCache.path", "did you mean `paths`?")],
    ),
    (
        "routers:\n- protocol: http\n  maxRequestKB: 5\n  servers: [{}]\n",
        &[(3, 3, "routers[0].maxRequestKB", "`maxRequestKB` is not supported: removed in Linkerd 1")],
    ),
    (
        "routers:\n- protocol: http\n  httpAccessLog: ''\n  httpAccessLogFormat: xml\n  httpAccessLogRollPolicy: weekly(8)\n  httpAccessLogAppend: 1\n  httpAccessLogRotateCount: -2\n  servers: [{}]\n",
        &[
            (
                3,
                18,
                "routers[0].httpAccessLog",
                "expected the path of a file, or `-` for the standard output",
            ),
            (4, 24, "routers[0].httpAccessLogFormat", "expected `linkerd` or `json`, found `xml`"),
            (
                5,
                28,
                "routers[0].httpAccessLogRollPolicy",
                "or a size such as `10.megabytes`, found `weekly(8)`",
            ),
            (6, 24, "routers[0].httpAccessLogAppend", "expected `true` or `false`"),
            (7, 29, "routers[0].httpAccessLogRotateCount", "expected a number from 0"),
        ],
    ),
    (
        "routers:\n- {protocol: http, label: a, servers: [{port: 1}], httpAccessLog: a.log}\n- {protocol: http, label: b, servers: [{port: 2}], httpAccessLog: ./a.log, httpAccessLogAppend: false}\n",
        &[(3, 67, "routers[1].httpAccessLog", "the access log at 2:67 goes there too, with other settings")],
    ),
    (
        "routers:\n- protocol: http\n  interpreter: {kind: io.l5d.namerd}\n  servers: [{}]\n",
        &[(3, 23, "routers[0].interpreter.kind", "`io.l5d.namerd` is not supported: namerd is not asked")],
    ),
    (
        "routers:\n- protocol: http\n  interpreter: {kind: io.l5d.fs, dtabFil: a}\n  servers: [{}]\n",
        &[
            (3, 16, "routers[0].interpreter", "the key `dtabFile` is missing"),
            (3, 34, "routers[0].interpreter.dtabFil", "did you mean `dtabFile`?"),
        ],
    ),
    // Linkerd 1 took an unknown kind of client for the usual one, in silence.
    (
        "routers:\n- protocol: http\n  client: {kind: io.l5d.globl}\n  servers: [{}]\n",
        &[(3, 18, "routers[0].client.kind", "did you mean `io.l5d.global`?")],
    ),
    (
        "routers:\n- protocol: http\n  client: {socketOptions: {noDelay: 1}}\n  servers: [{}]\n",
        &[(3, 37, "routers[0].client.socketOptions.noDelay", "expected")],
    ),
    // Each protocol has keys that the other does not know.
    (
        "routers:\n- protocol: h2\n  httpAccessLog: a.log\n  servers: [{}]\n",
        &[(
            3,
            3,
            "routers[0].httpAccessLog",
            "unknown key in a router of `protocol: h2`: here it is `h2AccessLog`",
        )],
    ),
    (
        "routers:\n- protocol: h2\n  maxHeadersKB: 8\n  compressionLevel: 0\n  servers: [{timestampHeader: a}]\n",
        &[
            (
                3,
                3,
                "routers[0].maxHeadersKB",
                "here a server, and `client` for responses, has `maxHeaderListBytes`",
            ),
            (4, 3, "routers[0].compressionLevel", "nothing takes its place; remove it"),
            (5, 14, "routers[0].servers[0].timestampHeader", "unknown key in a router of `protocol: h2`"),
        ],
    ),
    (
        "routers:\n- protocol: http\n  h2AccessLog: a.log\n  servers: [{maxHeaderListBytes: 8}]\n",
        &[
            (
                3,
                3,
                "routers[0].h2AccessLog",
                "unknown key in a router of `protocol: http`: here it is `httpAccessLog`",
            ),
            (4, 14, "routers[0].servers[0].maxHeaderListBytes", "here the router has `maxHeadersKB`"),
        ],
    ),
    (
        "routers:\n- protocol: http\n  client: {initialStreamWindowBytes: 1}\n  service: {classificationTimeoutMs: 1}\n  servers: [{}]\n",
        &[
            (3, 12, "routers[0].client.initialStreamWindowBytes", "nothing takes its place"),
            (4, 13, "routers[0].service.classificationTimeoutMs", "nothing takes its place"),
        ],
    ),
    // Linkerd 1's own document has it so.
    (
        "routers:\n- protocol: h2\n  servers: [{maxHeaderListByts: 8}]\n",
        &[(3, 14, "routers[0].servers[0].maxHeaderListByts", "did you mean `maxHeaderListBytes`?")],
    ),
    (
        "routers:\n- protocol: h2\n  servers: [{initialStreamWindowBytes: 0, maxFrameBytes: 16383}]\n  client: {maxFrameBytes: 16777216, headerTableBytes: -1}\n",
        &[
            (
                3,
                40,
                "routers[0].servers[0].initialStreamWindowBytes",
                "expected a number from 1 to 2147483647, found `0`",
            ),
            (
                3,
                58,
                "routers[0].servers[0].maxFrameBytes",
                "expected a number from 16384 to 16777215, found `16383`",
            ),
            (4, 27, "routers[0].client.maxFrameBytes", "found `16777216`"),
            (4, 55, "routers[0].client.headerTableBytes", "expected a number from 0"),
        ],
    ),
    (
        "routers:\n- protocol: h2\n  service:\n    responseClassifier: {kind: io.l5d.http.retryableRead5XX}\n  servers: [{}]\n",
        &[(4, 32, "routers[0].service.responseClassifier.kind", "its classifiers begin with `io.l5d.h2.`")],
    ),
    (
        "routers:\n- protocol: h2\n  servers: [{}]\n- protocol: h2\n  servers: [{}]\n",
        &[
            (4, 3, "routers[1].label", "the label `h2` is taken by the router at 2:3"),
            (5, 13, "routers[1].servers[0].port", "port 4142 is taken by the router `h2`"),
        ],
    ),
    // Names.
    (
        "routers:\n- protocol: http\n  dtab: /svc => /host |\n  servers: [{}]\n",
        &[(3, 24, "routers[0].dtab", "not a dtab: expected")],
    ),
    (
        "routers:\n- protocol: http\n  dtab: |\n    /svc => /host;\n    /host = /srv;\n  servers: [{}]\n",
        &[(5, 11, "routers[0].dtab", "not a dtab: expected")],
    ),
    (
        "routers:\n- protocol: http\n  dtab: '/svc => /ho^st'\n  servers: [{}]\n",
        &[(3, 21, "routers[0].dtab", "found '^'")],
    ),
    (
        "routers:\n- protocol: http\n  dtab: \"/svc =>\\n /ho^st\"\n  servers: [{}]\n",
        &[(3, 23, "routers[0].dtab", "found '^'")],
    ),
    (
        "routers:\n- protocol: http\n  dtab: >\n    /svc => /host;\n    /host => srv\n  servers: [{}]\n",
        &[(5, 14, "routers[0].dtab", "found 's'")],
    ),
    (
        "routers:\n- protocol: http\n  dtab: [/svc => /host]\n  servers: [{}]\n",
        &[(3, 9, "routers[0].dtab", "expected a text, found a list")],
    ),
    (
        "routers:\n- protocol: http\n  dstPrefix: http\n  servers: [{}]\n",
        &[(3, 14, "routers[0].dstPrefix", "not a path: expected '/'")],
    ),
    (
        "routers:\n- protocol: http\n  identifier: {kind: io.l5d.pth}\n  servers: [{}]\n",
        &[(3, 22, "routers[0].identifier.kind", "did you mean `io.l5d.path`?")],
    ),
    (
        "routers:\n- protocol: http\n  identifier: []\n  servers: [{}]\n",
        &[(3, 15, "routers[0].identifier", "this list is empty")],
    ),
    (
        "routers:\n- protocol: http\n  identifier:\n  - {kind: io.l5d.path, segments: 0}\n  servers: [{}]\n",
        &[(4, 35, "routers[0].identifier[0].segments", "expected a number from 1, found `0`")],
    ),
    (
        "routers:\n- protocol: http\n  identifier: {kind: io.l5d.path, segments: -1}\n  servers: [{}]\n",
        &[(3, 45, "routers[0].identifier.segments", "expected a whole number, not negative, found `-1`")],
    ),
    (
        "routers:\n- protocol: http\n  identifier: {kind: io.l5d.path, consume: 2}\n  servers: [{}]\n",
        &[(3, 44, "routers[0].identifier.consume", "expected `true` or `false`, found `2`")],
    ),
    (
        "routers:\n- protocol: http\n  identifier: {kind: io.l5d.path, segment: 2}\n  servers: [{}]\n",
        &[(3, 35, "routers[0].identifier.segment", "did you mean `segments`?")],
    ),
    (
        "routers:\n- protocol: http\n  identifier: {kind: io.l5d.header, header: ''}\n  servers: [{}]\n",
        &[(3, 45, "routers[0].identifier.header", "expected the name of a header")],
    ),
    (
        "routers:\n- protocol: h2\n  identifier:\n  - {kind: io.l5d.header.path, segments: 0}\n  - {kind: io.l5d.header.token, header: ':status'}\n  servers: [{}]\n",
        &[
            (4, 42, "routers[0].identifier[0].segments", "expected a number from 1, found `0`"),
            (
                5,
                41,
                "routers[0].identifier[1].header",
                "or `:authority`, `:path`, `:method` or `:scheme`, found `:status`",
            ),
        ],
    ),
    (
        "routers:\n- protocol: http\n  identifier: {kind: io.l5d.static}\n  servers: [{}]\n",
        &[(3, 15, "routers[0].identifier", "the key `path` is missing")],
    ),
    (
        "routers:\n- protocol: http\n  identifier: {kind: io.l5d.static, path: /a//b}\n  servers: [{}]\n",
        &[(3, 46, "routers[0].identifier.path", "not a path: expected")],
    ),
    (
        "routers:\n- protocol: http\n  identifier: {kind: io.l5d.ingress, namespace: '', host: a, context: b}\n  servers: [{}]\n",
        &[
            (3, 49, "routers[0].identifier.namespace", "a text"),
            (3, 71, "routers[0].identifier.context", "name an API server already"),
        ],
    ),
    (
        "routers:\n- protocol: http\n  identifier: {header: a}\n  servers: [{}]\n",
        &[(3, 15, "routers[0].identifier", "the key `kind` is missing; it is one of: io.l5d.header.token")],
    ),
    // Namers.
    (
        "namers:\n- kind: io.l5d.files\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[(2, 9, "namers[0].kind", "unknown kind; known here: io.l5d.fs, io.l5d.rewrite")],
    ),
    (
        "namers:\n- kind: io.l5d.marathon\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[(2, 9, "namers[0].kind", "`io.l5d.marathon` is not supported: this scheduler is not asked")],
    ),
    (
        "namers:\n- kind: io.l5d.k8s\n  host: a b\n  watch: all\n  endpoints: v2\n  labelSelector: a=b\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[
            (3, 9, "namers[0].host", "`a b` is not a host"),
            (4, 10, "namers[0].watch", "expected `namespace` or `cluster`, found"),
            (5, 14, "namers[0].endpoints", "expected `discovery.k8s.io/v1` or `v1`, found"),
            (6, 18, "namers[0].labelSelector", "expected the key of a label"),
        ],
    ),
    (
        "namers:\n- {kind: io.l5d.k8s.ns, port: 0, context: a}\n- {kind: io.l5d.k8s.external, endpoints: v1}\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[
            (2, 31, "namers[0].port", "expected a number from 1 to 65535"),
            (2, 43, "namers[0].context", "`host` and `port` name an API server already"),
            (3, 31, "namers[1].endpoints", "unknown key"),
        ],
    ),
    (
        "namers:\n- kind: io.l5d.consul\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[(2, 9, "namers[0].kind", "`io.l5d.consul` is not available yet (feature: Consul)")],
    ),
    (
        "namers:\n- kind: io.l5d.dnssrv\n  refreshIntervalSeconds: 0\n  dnsHosts: [10.0.0.10, 'a:b']\n  domain: a..b\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[
            (3, 27, "namers[0].refreshIntervalSeconds", "expected a number from 1"),
            (4, 25, "namers[0].dnsHosts[1]", "an address or a host name of a DNS server"),
            (5, 11, "namers[0].domain", "a domain such as example.org"),
        ],
    ),
    (
        "namers:\n- kind: io.l5d.fs\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[(2, 3, "namers[0]", "the key `rootDir` is missing")],
    ),
    (
        "namers:\n- {kind: io.l5d.fs, rootDir: [a]}\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[(2, 30, "namers[0].rootDir", "found a list")],
    ),
    (
        "namers:\n- {kind: io.l5d.fs, rootDir: a, prefix: fs}\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[(2, 41, "namers[0].prefix", "not a path: expected '/'")],
    ),
    (
        "namers:\n- {kind: io.l5d.fs, rootDir: a, prefix: /}\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[(2, 41, "namers[0].prefix", "an empty prefix")],
    ),
    (
        "namers:\n- {kind: io.l5d.fs, rootDir: a, prefix: '/#/fs'}\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[(2, 41, "namers[0].prefix", "leave it out here")],
    ),
    (
        "namers:\n- {kind: io.l5d.rewrite, pattern: '/{a}', name: '/b'}\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[(2, 3, "namers[0]", "the key `prefix` is missing")],
    ),
    (
        "namers:\n- {kind: io.l5d.rewrite, prefix: /r, pattern: '/{a', name: '/b'}\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[(2, 47, "namers[0].pattern", "brace")],
    ),
    (
        "namers:\n- {kind: io.l5d.rewrite, prefix: /r, pattern: '/{a}', name: '/{b}'}\nrouters: [{protocol: http, servers: [{}]}]\n",
        &[(2, 61, "namers[0].name", "`{b}` is not captured")],
    ),
    // Across the file.
    (
        "routers:\n- protocol: http\n  servers: [{}]\n- protocol: http\n  servers: [{port: 1}]\n",
        &[(
            4,
            3,
            "routers[1].label",
            "the label `http` is taken by the router at 2:3; give this one a `label`",
        )],
    ),
    (
        "routers:\n- {protocol: http, label: a, servers: [{port: 1}]}\n- {protocol: http, label: a, servers: [{port: 2}]}\n",
        &[(3, 27, "routers[1].label", "the label `a` is taken by the router at 2:27")],
    ),
    (
        "routers:\n- {protocol: http, label: a, servers: [{port: 1}]}\n- {protocol: http, label: b, servers: [{port: 1, ip: 0.0.0.0}]}\n",
        &[(3, 47, "routers[1].servers[0].port", "port 1 is taken by the router `a` (127.0.0.1:1) at 2:47")],
    ),
    (
        "routers:\n- {protocol: http, label: a, servers: [{}]}\n- {protocol: http, label: b, servers: [{}]}\n",
        &[(
            3,
            40,
            "routers[1].servers[0].port",
            "port 4140 is taken by the router `a` (127.0.0.1:4140) at 2:40",
        )],
    ),
    (
        "routers:\n- {protocol: http, servers: [{port: 9990}]}\n",
        &[(2, 37, "routers[0].servers[0].port", "port 9990 is taken by the admin server (127.0.0.1:9990)")],
    ),
    (
        "admin: {port: 4140}\nrouters:\n- {protocol: http, servers: [{}]}\n",
        &[(
            3,
            30,
            "routers[0].servers[0].port",
            "port 4140 is taken by the admin server (127.0.0.1:4140) at 1:15",
        )],
    ),
    // What is not YAML, or more than a configuration may be.
    ("routers:\n- protocol: http\n\tservers: [{}]\n", &[(3, 1, "", "not YAML: a tab cannot indent a line")]),
    (
        "routers:\n- protocol: http\n servers: [{}]\n",
        &[(3, 9, "", "did not find expected key (is this line indented")],
    ),
    ("routers: [{protocol: http, servers: [{}]}\n", &[(1, 10, "", "this `[` is not closed")]),
    (
        "{\"routers\": [{\"protocol\": \"http, \"servers\": [{}]}]}\n",
        &[(1, 35, "", "not YAML: invalid trailing content")],
    ),
    ("x: &a 1\nrouters: *a\n", &[(1, 4, "", "anchors (`&name`) and aliases (`*name`) are not read")]),
    (
        "routers:\n- protocol: http\n  servers: [{port: 1, port: 2}]\n",
        &[(
            3,
            23,
            "routers[0].servers[0].port",
            "the key `port` stands here a second time; the first is at 3:14",
        )],
    ),
    ("admin: {}\nrouters: []\nadmin: {}\n", &[(3, 1, "admin", "the first is at 1:1")]),
    ("- protocol: http\n", &[(1, 1, "", "a configuration begins with keys such as `routers:`")]),
    ("routers: []\n---\nrouters: []\n", &[(2, 1, "", "a file holds one document")]),
    // Several at once, in the order of the file.
    (
        "admin: {prt: 1}\nnamers: [{kind: x}]\nrouters:\n- protocol: http\n  dtab: /a\n  servers: [{ip: x}]\n- protocol: http\n  label: b\n",
        &[
            (1, 9, "admin.prt", "did you mean `port`?"),
            (2, 17, "namers[0].kind", "unknown kind"),
            (5, 11, "routers[0].dtab", "not a dtab"),
            (6, 18, "routers[0].servers[0].ip", "expected an IP address"),
            (7, 3, "routers[1]", "has no servers"),
        ],
    ),
];

#[test]
fn each_mistake_has_its_place_its_key_and_its_reason() {
    let wrong: Vec<String> = CASES.iter().filter_map(|(text, expected)| differs(text, expected)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Says how the errors of a file differ from those that are expected; nothing when they do not.
fn differs(text: &str, expected: &[(usize, usize, &str, &str)]) -> Option<String> {
    let Err(errors) = config::read("linkerd.yaml", text) else { return Some(format!("{text}is accepted")) };
    let same = errors.iter().len() == expected.len()
        && errors.iter().zip(expected).all(|(error, (line, column, key, phrase))| {
            (error.line, error.column, error.key.as_str()) == (*line, *column, *key)
                && error.message.contains(phrase)
                && error.to_string().starts_with(&format!("linkerd.yaml:{line}:{column}: "))
                && error.excerpt.ends_with('^')
        });
    (!same).then(|| format!("{text}gives\n{errors}\nexpected {expected:?}"))
}

#[test]
fn an_error_reads_like_one_of_a_compiler() {
    let text = "routers:\n- protocol: http\n  dtab: |\n    /svc => /host;\n    /host => srv;\n  servers:\n  - port: 0\n";
    let errors = config::read("linkerd.yaml", text).expect_err("wrong");
    let shown = "linkerd.yaml:5:14: routers[0].dtab: not a dtab: expected '/', a weight, '(', '~', '!' or '$', found 's'
5 |     /host => srv;
  |              ^";
    assert_eq!(errors.to_string(), shown);
}

fn load(path: &Path) -> Errors {
    config::load(path).expect_err("nothing to read")
}

#[test]
fn what_is_no_text_is_an_error_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    assert!(load(&folder.path().join("absent")).to_string().ends_with("absent: there is no such file"));
    assert!(load(folder.path()).to_string().ends_with("this is a directory, not a file"));
    let errors = load(&file("latin1", b"routers:\n- label: caf\xe9\n")).to_string();
    assert!(errors.ends_with("latin1:2:13: this byte is not UTF-8, and a configuration is"), "{errors}");
    assert!(load(&file("zero", b"routers:\0")).to_string().contains("zero:1:9: a NUL byte"));
    assert!(load(&file("empty", b"")).to_string().contains("empty:1:1: there are no routers"));
    let nested = "- ".repeat(1 << 20);
    assert!(load(&file("nested", nested.as_bytes())).to_string().contains("nested too deep"));
    let nested = "[".repeat(1 << 20);
    assert!(load(&file("brackets", nested.as_bytes())).to_string().contains("nested too deep"));
}

#[test]
fn a_directory_of_names_must_exist() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = |directory: &Path| {
        let namer = format!("{{kind: io.l5d.fs, rootDir: '{}'}}", directory.display());
        format!("namers: [{namer}]\nrouters: [{{protocol: http, servers: [{{port: 0}}]}}]\n")
    };
    let path = folder.path().join("linkerd.yaml");
    std::fs::write(&path, text(&folder.path().join("absent"))).expect("a file");
    let errors = load(&path).to_string();
    assert!(errors.contains(":1:37: namers[0].rootDir: there is no such directory"), "{errors}");
    std::fs::write(&path, text(folder.path())).expect("a file");
    let config = config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.namers.len(), config.file), (1, path.display().to_string()));
}
