"""What stands between two ends, and how long it lets a connection be silent or live: data for guesses, not facts.

Whoever runs such a thing may have configured another limit. What has no limit of its own for an upgraded connection
(Traefik, Caddy) is not here, nor is what we are not sure of.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What a limit is measured against."""

    IDLE = "idle"  # seconds in which nothing passes
    LIFETIME = "lifetime"  # seconds from the opening on, whatever passes


class Ending(StrEnum):
    """What happens when the limit has passed."""

    CLOSES = "closes"  # both sides get TCP's FIN, or a reset where they had sent something that was not read
    RESETS = "resets"  # both sides get a reset
    FORGETS = "forgets"  # nothing, until somebody sends: that gets a reset, or no answer at all
    UNKNOWN = "unknown"  # not documented; maybe a Close frame


class Limit(NamedTuple):
    """One limit of one product, as it is unless somebody has changed it."""

    who: str
    setting: str  # such that "who's setting" can be read aloud
    seconds: float
    ending: Ending
    source: str  # whose public documentation, or source, and where in it
    kind: Kind = Kind.IDLE
    date: str = "as known in 2025"  # when it was last true as far as we know


_LIFETIME = Kind.LIFETIME
_CLOSES, _RESETS, _FORGETS, _UNKNOWN = Ending.CLOSES, Ending.RESETS, Ending.FORGETS, Ending.UNKNOWN

#: Sorted by seconds; among equals the one that is met most often comes first.
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

#: Seconds by which less than the limit may be seen here. The last byte can have been held up on its way more than the
#: end was, and some timers are not moved for a small difference (nginx: 0.3 s).
EARLY = 0.5

#: Seconds, and share of the limit, by which more may be seen. A byte of ours starts the timer one way later and the end
#: reaches us another way later, a packet lost on the way costs a second, and some look at their timers now and then.
LATE, LATE_SHARE = 2.0, 0.02


def matching(kind: Kind, seconds: float, endings: Collection[Ending]) -> list[Limit]:
    """The limits that may have struck, in the order of the table.

    Args:
        kind: whether ``seconds`` were of silence or of age.
        seconds: as seen here. They are near the limit of whatever acts at its limit, and anything beyond the limit of
            what forgets, for that is only noticed by whoever sends next.
        endings: those that fit how the connection ended.
    """
    return [limit for limit in LIMITS if limit.kind is kind and limit.ending in endings and _fits(limit, seconds)]


def _fits(limit: Limit, seconds: float) -> bool:
    if seconds < limit.seconds - EARLY:
        return False
    return limit.ending is Ending.FORGETS or seconds <= limit.seconds * (1 + LATE_SHARE) + LATE
