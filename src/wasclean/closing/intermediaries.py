"""Idle timeouts and maximum ages of proxies, load balancers and NATs: data for guesses, not facts.

These are defaults; an operator may have configured other limits. Products without a limit for upgraded connections
(Traefik, Caddy) are not listed, and neither are limits that could not be confirmed.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """The duration that a limit applies to."""

    IDLE = "idle"  # seconds without any byte
    LIFETIME = "lifetime"  # seconds since the opening, idle or not


class Ending(StrEnum):
    """The behaviour of an intermediary when the limit has passed."""

    CLOSES = "closes"  # sends FIN to both ends, or RST to an end whose bytes it has not read
    RESETS = "resets"  # sends RST to both ends
    FORGETS = "forgets"  # drops its state silently; the next packet of either end gets RST, or no response at all
    UNKNOWN = "unknown"  # not documented; possibly a Close frame


class Limit(NamedTuple):
    """The default of one limit of one product."""

    who: str  # the product
    setting: str  # the name of the limit, as in "nginx's proxy_read_timeout"
    seconds: float
    ending: Ending
    source: str  # public documentation or source code, and the place in it
    kind: Kind = Kind.IDLE
    date: str = "as known in 2025"


_LIFETIME = Kind.LIFETIME
_CLOSES, _RESETS, _FORGETS, _UNKNOWN = Ending.CLOSES, Ending.RESETS, Ending.FORGETS, Ending.UNKNOWN

#: Sorted by seconds; among equal ones the most common product comes first.
LIMITS = (
    Limit(
        "Google Cloud Load Balancing",
        "backend service timeout",
        30,
        _CLOSES,
        "Google Cloud: Backend services overview",
        _LIFETIME,
    ),
    Limit(
        "HAProxy",
        "timeout client (Debian's haproxy.cfg)",
        50,
        _CLOSES,
        "HAProxy: manual, timeout client; Debian: haproxy.cfg",
    ),
    Limit("Heroku", "router timeout", 55, _CLOSES, "Heroku Dev Center: HTTP Routing, Timeouts; Error Codes, H15"),
    Limit("nginx", "proxy_read_timeout", 60, _CLOSES, "nginx: WebSocket proxying; Module ngx_http_proxy_module"),
    Limit("AWS ALB", "idle timeout", 60, _CLOSES, "AWS: Application Load Balancers, Connection idle timeout"),
    Limit("ingress-nginx", "proxy-read-timeout", 60, _CLOSES, "Ingress-Nginx Controller: ConfigMaps"),
    Limit("Apache httpd", "ProxyTimeout", 60, _CLOSES, "Apache HTTP Server 2.4: mod_proxy; core, Timeout"),
    Limit(
        "HAProxy",
        "timeout client (Red Hat's haproxy.cfg)",
        60,
        _CLOSES,
        "HAProxy: manual, timeout client; Red Hat: haproxy.cfg",
    ),
    Limit("Kong", "read_timeout", 60, _CLOSES, "Kong Gateway: Gateway Services"),
    Limit("Varnish", "pipe_timeout", 60, _CLOSES, "Varnish: varnishd, Run Time Parameters"),
    Limit("Cloudflare", "proxy read timeout", 100, _UNKNOWN, "Cloudflare: Connection limits", date="as known in 2024"),
    Limit(
        "Azure Load Balancer", "TCP idle timeout", 240, _FORGETS, "Microsoft: Load Balancer TCP reset and idle timeout"
    ),
    Limit("Azure NAT Gateway", "TCP idle timeout", 240, _FORGETS, "Microsoft: Azure NAT Gateway, TCP idle timeout"),
    Limit("Azure Application Gateway", "TCP idle timeout", 240, _UNKNOWN, "Microsoft: Application Gateway, FAQ"),
    Limit("Envoy", "stream_idle_timeout", 300, _CLOSES, "Envoy: How do I configure timeouts?"),
    Limit("Google Cloud Run", "request timeout", 300, _CLOSES, "Google Cloud: Cloud Run, Using WebSockets", _LIFETIME),
    Limit(
        "Apache httpd",
        "Timeout (Debian's apache2.conf)",
        300,
        _CLOSES,
        "Apache HTTP Server 2.4: core; Debian: apache2.conf",
    ),
    Limit(
        "F5 BIG-IP", "idle timeout of the TCP profile", 300, _RESETS, "F5: BIG-IP Local Traffic Manager, TCP profile"
    ),
    Limit("AWS NLB", "TCP idle timeout", 350, _FORGETS, "AWS: Network Load Balancers, Connection idle timeout"),
    Limit("AWS NAT gateway", "idle timeout", 350, _FORGETS, "AWS: Amazon VPC, Troubleshoot NAT gateways"),
    Limit("AWS API Gateway", "idle connection timeout", 600, _UNKNOWN, "AWS: API Gateway, Quotas for WebSocket APIs"),
    Limit("CloudFront", "WebSocket idle timeout", 600, _UNKNOWN, "AWS: Amazon CloudFront, Quotas on WebSockets"),
    Limit("nginx", "proxy_timeout (TCP proxy)", 600, _CLOSES, "nginx: Module ngx_stream_proxy_module"),
    Limit("Google Cloud VPC", "connection tracking", 600, _FORGETS, "Google Cloud: VPC firewall rules"),
    Limit("Squid", "read_timeout", 900, _CLOSES, "Squid: configuration directive read_timeout"),
    Limit("Linux IPVS", "TCP timeout", 900, _FORGETS, "Linux: net/netfilter/ipvs/ip_vs_proto_tcp.c; ipvsadm(8)"),
    Limit("Google Cloud NAT", "TCP idle timeout", 1200, _FORGETS, "Google Cloud: Cloud NAT, Timeouts"),
    Limit("HAProxy", "timeout tunnel (the manual's example)", 3600, _CLOSES, "HAProxy: manual, timeout tunnel"),
    Limit("Envoy", "idle_timeout (TCP proxy)", 3600, _CLOSES, "Envoy: TcpProxy"),
    Limit("OpenShift", "tunnel timeout of the router", 3600, _CLOSES, "OpenShift: ROUTER_DEFAULT_TUNNEL_TIMEOUT"),
    Limit("Cisco ASA", "timeout conn", 3600, _FORGETS, "Cisco: ASA Command Reference, timeout"),
    Limit(
        "Google Cloud Run",
        "longest request timeout",
        3600,
        _CLOSES,
        "Google Cloud: Cloud Run, Using WebSockets",
        _LIFETIME,
    ),
    Limit(
        "AWS API Gateway",
        "connection duration",
        7200,
        _UNKNOWN,
        "AWS: API Gateway, Quotas for WebSocket APIs",
        _LIFETIME,
    ),
    Limit(
        "OpenWrt", "nf_conntrack_tcp_timeout_established", 7440, _FORGETS, "OpenWrt: source, sysctl-nf-conntrack.conf"
    ),
    Limit(
        "Linux", "nf_conntrack_tcp_timeout_established", 432_000, _FORGETS, "Linux: Documentation, nf_conntrack-sysctl"
    ),
)

#: Tolerance below the limit, in seconds. The last byte may have taken longer than the end of the connection to arrive,
#: and some products do not move a timer for a small difference (nginx: 0.3 s).
EARLY = 0.5

#: Tolerance above the limit, in seconds and as a share of the limit. The timer starts when our byte arrives there, the
#: end takes as long to arrive here, a lost packet costs a second, and some products check their timers infrequently.
LATE, LATE_SHARE = 2.0, 0.02


def matching(kind: Kind, seconds: float, endings: Collection[Ending]) -> list[Limit]:
    """Return the limits that may have ended a connection, in the order of the table.

    Args:
        kind: IDLE if ``seconds`` is a time of silence, LIFETIME if it is an age.
        seconds: the time as measured at this end. It must be close to the limit. Only for a limit that FORGETS may it
            be any longer time, because that is not noticed before one end sends something.
        endings: the behaviours that are consistent with the end of the connection.
    """
    return [limit for limit in LIMITS if limit.kind is kind and limit.ending in endings and _fits(limit, seconds)]


def _fits(limit: Limit, seconds: float) -> bool:
    if seconds < limit.seconds - EARLY:
        return False
    return limit.ending is Ending.FORGETS or seconds <= limit.seconds * (1 + LATE_SHARE) + LATE
