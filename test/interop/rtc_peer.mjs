// An RTCPeerConnection of libdatachannel (node-datachannel) as a peer of ours: the same lines as ice_peer.c. DTLS above finds nobody
// to talk to; only ICE is judged.
//
//     node rtc_peer.mjs offer|answer ADDRESS
//
// offer: it is the offerer and thereby controlling. node_modules is found by WARREN_NPM.
import { createRequire } from 'node:module';
import readline from 'node:readline';

const require = createRequire(process.env.WARREN_NPM + '/');
const dc = require('node-datachannel');
const [role, address] = process.argv.slice(2);
const say = (...words) => process.stdout.write(words.join(' ') + '\n');
const FINGERPRINT = Array(32).fill('AB').join(':');

const pc = new dc.PeerConnection('peer', { iceServers: [], bindAddress: address, disableFingerprintVerification: true });

function describe(type, ufrag, pwd) {
  return ['v=0', 'o=- 1 0 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0', 'a=msid-semantic:WMS *', `a=ice-options:trickle`,
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel', 'c=IN IP4 0.0.0.0', 'a=mid:0', 'a=sendrecv', 'a=sctp-port:5000',
    'a=max-message-size:262144', `a=setup:${type === 'offer' ? 'actpass' : 'passive'}`, `a=ice-ufrag:${ufrag}`, `a=ice-pwd:${pwd}`,
    `a=fingerprint:sha-256 ${FINGERPRINT}`, ''].join('\r\n');
}

pc.onLocalDescription((sdp) => {
  say('credentials', /a=ice-ufrag:(\S+)/.exec(sdp)[1], /a=ice-pwd:(\S+)/.exec(sdp)[1]);
});
pc.onLocalCandidate((candidate) => say('candidate', candidate.replace(/^a=/, '')));
pc.onGatheringStateChange((s) => s === 'complete' && say('done'));
pc.onIceStateChange((s) => say('state', s));
if (role === 'offer')
  pc.createDataChannel('x');

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [word, ...rest] = line.split(' ');
  if (word === 'credentials')
    pc.setRemoteDescription(describe(role === 'offer' ? 'answer' : 'offer', rest[0], rest[1]), role === 'offer' ? 'answer' : 'offer');
  else if (word === 'candidate')
    pc.addRemoteCandidate(rest.join(' '), '0');
  else if (word === 'quit')
    process.exit(0);
}).on('close', () => process.exit(0));
