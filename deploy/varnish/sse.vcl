# sse-server behind Varnish. Copy it to /etc/varnish/default.vcl, or take its subroutines over into yours.
#
# Varnish has nothing to cache here; this is for those who have it in front anyway. Each stream takes one thread
# (`-p thread_pool_max=`, 5,000 in each of two pools) and two connections. It speaks no TLS: end that before it, by
# HAProxy or hitch. Streams go through pipes, which Varnish has for HTTP/1.1 only: let what ends TLS offer no HTTP/2 to
# Varnish, and leave `feature=+http2` off.

vcl 4.1;

backend sse {
    .host = "127.0.0.1";
    .port = "8080";
    .connect_timeout = 5s;
}

sub vcl_recv {
    # Who asks. Varnish appends to X-Forwarded-For, which the server believes with `--trusted-proxy 127.0.0.1/32`. It reads
    # `Forwarded` as well, which a client could have written.
    unset req.http.Forwarded;

    # A stream is a pipe: each byte goes on as it comes, and who leaves is seen on the other side at once. The longest silence
    # is the parameter `pipe_timeout`; its 60 seconds are twice the server's heartbeat (25 s).
    if (req.method == "GET" && req.url ~ "^(/events|/\.well-known/mercure)([/?]|$)") {
        return (pipe);
    }

    # All else goes to the server as well, over connections that are kept.
    return (pass);
}

sub vcl_pipe {
    # What follows on a pipe is never looked at: the server has to close it after this one answer.
    set bereq.http.Connection = "close";
}
