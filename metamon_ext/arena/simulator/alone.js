// The simulator with nothing around it: random choices inside Node, no tracking, no pipes.
//
//   node simulator_alone.js SIMULATOR FORMAT BATTLES SEED < packed teams, a JSON list
//
// Prints {"decisions": n, "seconds": s}. The first tenth of the battles warms Node up, uncounted.
'use strict';

const path = require('path');
const [simulator, format, count, seed] = process.argv.slice(2);
const {BattleStream, PRNG} = require(path.resolve(simulator));

class RandomBattle extends BattleStream {
	constructor(prng) {
		super({noCatch: true, keepAlive: true});
		this.prng = prng;
		this.pending = [];
		this.ended = false;
	}

	pushMessage(type, data) {
		if (type === 'end') this.ended = true;
		if (type !== 'sideupdate' || !data.startsWith('|request|', 3)) return;
		const request = JSON.parse(data.slice(12));
		if (!request.wait) this.pending.push([data.slice(0, 2), this.choice(request)]);
	}

	choice({active, forceSwitch, teamPreview, side}) {
		if (teamPreview) return 'default';
		const choices = [];
		if (!forceSwitch) {
			active[0].moves.forEach((move, i) => { if (!move.disabled) choices.push(`move ${i + 1}`); });
		}
		if (forceSwitch || !(active[0].trapped || active[0].maybeTrapped)) {
			side.pokemon.forEach((pokemon, i) => {
				if (!pokemon.active && !pokemon.condition.endsWith(' fnt')) choices.push(`switch ${i + 1}`);
			});
		}
		return choices.length ? this.prng.sample(choices) : 'default';
	}
}

function play(teams, n) {
	const prng = new PRNG(`gen5,${BigInt.asUintN(64, BigInt(seed) * 100003n + BigInt(n)).toString(16).padStart(16, '0')}`);
	const battle = new RandomBattle(prng);
	const player = name => JSON.stringify({name, team: prng.sample(teams), seed: prng.getSeed()});
	battle._write(`>start ${JSON.stringify({formatid: format, seed: prng.getSeed()})}`);
	battle._write(`>player p1 ${player('p1')}`);
	battle._write(`>player p2 ${player('p2')}`);
	let decisions = 0;
	while (!battle.ended && battle.pending.length) {
		const [seat, choice] = battle.pending.shift();
		battle._write(`>${seat} ${choice}`);
		decisions++;
	}
	return decisions;
}

const teams = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const warmUp = Math.ceil(count / 10);
for (let n = 0; n < warmUp; n++) play(teams, n);
let decisions = 0;
const start = process.hrtime.bigint();
for (let n = 0; n < count; n++) decisions += play(teams, warmUp + n);
const seconds = Number(process.hrtime.bigint() - start) / 1e9;
console.log(JSON.stringify({decisions, seconds}));
