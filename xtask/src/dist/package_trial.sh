# Installs the package $2 over a copy of this system that is kept in memory, below $1; says what holds, and forgets it all.
room=$1 package=$2

mount -t tmpfs tmpfs "$room"
mkdir "$room/changes" "$room/work" "$room/root"
mount -t overlay -o "lowerdir=/,upperdir=$room/changes,workdir=$room/work" overlay "$room/root"
cp "$package" "$room/changes/sse-server.deb"
mount --rbind /dev "$room/root/dev"
mount -t proc proc "$room/root/proc"
mount -t tmpfs tmpfs "$room/root/run"
mount -t tmpfs tmpfs "$room/root/tmp"
ip link set lo up

cat > "$room/root/tmp/inside.sh" <<'INSIDE'
export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
unit=/lib/systemd/system/sse-server.service
judge() { what=$1; shift; if "$@"; then echo "holds: $what"; else echo "does not hold: $what"; fi; }
not() { ! "$@"; }
# Tries again for ten seconds.
soon() { tries=100; until "$@" > /dev/null 2>&1; do tries=$((tries - 1)); [ $tries -gt 0 ] || return 1; sleep 0.1; done; }

dpkg --install /sse-server.deb
judge 'it is installed' sh -c "dpkg --status sse-server | grep -qx 'Status: install ok installed'"
judge 'it has a user of its own, who cannot log in' sh -c 'getent passwd sse-server | grep -q nologin$'
judge 'the service starts with the system' systemctl --quiet is-enabled sse-server.service
judge 'the socket unit does not, until somebody wants it' not systemctl --quiet is-enabled sse-server.socket
judge 'its settings are a conffile' sh -c 'dpkg-query --show --showformat="\${Conffiles}" sse-server | grep -q /etc/sse-server/sse-server.toml'
judge 'man finds its pages' man --where sse-server sse-server-publish
judge 'bash completes it' bash -c '. /usr/share/bash-completion/completions/sse-server && complete -p sse-server'

# There is no systemd here: what the unit says is done by hand.
start=$(sed -n 's/^ExecStart=//p' $unit)
mkdir --mode=0700 /var/lib/sse-server
chown sse-server:sse-server /var/lib/sse-server
setpriv --reuid=sse-server --regid=sse-server --clear-groups --no-new-privs --bounding-set=-all $start 2> /tmp/log &
server=$!
soon curl --fail --silent localhost:8081/readyz || cat /tmp/log
judge 'it is ready' curl --fail --silent --output /dev/null localhost:8081/readyz
judge 'it runs as its user' [ "$(ps -o user= $server)" = sse-serv+ -o "$(ps -o user= $server)" = sse-server ]
curl --silent --no-buffer localhost:8080/events/news > /tmp/followed &
follower=$!
soon grep -q retry /tmp/followed
curl --fail --silent --data hello --output /dev/null localhost:8080/events/news
judge 'who follows gets what is published' soon grep -q 'data: hello' /tmp/followed
kill $server
ended=0; wait $server || ended=$?
judge 'asked to end it exits with 0' [ $ended = 0 ]
kill $follower 2> /dev/null || true

echo '# mine' >> /etc/sse-server/sse-server.toml
dpkg --install /sse-server.deb
judge 'installed again, it keeps changed settings' grep -q '^# mine' /etc/sse-server/sse-server.toml
dpkg --remove sse-server
judge 'removed, it leaves settings' [ -e /etc/sse-server/sse-server.toml ]
judge 'and no program or unit' [ ! -e /usr/bin/sse-server -a ! -e $unit ]
dpkg --purge sse-server
judge 'purged, it leaves nothing in /etc' sh -c '[ ! -e /etc/sse-server ] && ! find /etc/systemd -name "sse-server*" | grep -q .'
INSIDE
exec chroot "$room/root" sh -u /tmp/inside.sh
