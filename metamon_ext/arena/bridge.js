// Many battles of the real simulator in one process, spoken to in lines of JSON over pipes.
//
//   node bridge.js SIMULATOR      SIMULATOR: the folder of the npm package pokemon-showdown
//
// in   ["format", name]                      describe a battle format
//      ["validate", format, [export, ...]]   judge and pack teams given as Showdown exports
//      ["start", id, {format, seed, p1: {name, team?, seed}, p2: {...}}]
//      ["choose", id, seat, choice]          e.g. ["choose", 7, "p1", "move 2"]
//      ["drop", id]                          forget a battle
// out  ["format", {...}] | ["validate", [{packed, problems}, ...]]
//      ["battle", id, [lines of p1, lines of p2], [request of p1, of p2], [error of p1, of p2], end]
//      ["crash", id, message]                the simulator threw: the battle is gone
//
// A battle's message is sent when the simulator has finished with one command, with all that it
// said meanwhile, so it makes no difference whether it sends a request before or after the update.
'use strict';

const path = require('path');
const simulator = process.argv[2];
const {BattleStream, Dex, TeamValidator, Teams} = require(path.resolve(simulator));
const {extractChannelMessages} = require(path.resolve(simulator, 'dist/sim/battle.js'));

/** One battle, collecting what the simulator says until `flush` hands it over. */
class CollectingStream extends BattleStream {
	constructor(id) {
		super({noCatch: true, keepAlive: true});
		this.id = id;
		this.clear();
	}

	clear() {
		this.lines = ['', ''];
		this.requests = ['null', 'null'];
		this.errors = [null, null];
		this.end = 'null';
		this.dirty = false;
	}

	pushMessage(type, data) {
		this.dirty = true;
		if (type === 'update') {
			const channels = extractChannelMessages(data, [1, 2]);
			for (const seat of [0, 1]) {
				if (this.lines[seat]) this.lines[seat] += '\n';
				this.lines[seat] += channels[seat + 1].join('\n');
			}
		} else if (type === 'sideupdate') {
			const seat = data[1] - 1;
			const message = data.slice(3);
			if (message.startsWith('|request|')) {
				this.requests[seat] = message.slice('|request|'.length);
			} else if (message.startsWith('|error|')) {
				this.errors[seat] = message.slice('|error|'.length);
			}
		} else if (type === 'end') {
			const {winner, turns} = JSON.parse(data);
			this.end = JSON.stringify({winner, turns});
		}
	}

	flush() {
		if (!this.dirty) return '';
		const message = `["battle",${JSON.stringify(this.id)},${JSON.stringify(this.lines)},` +
			`[${this.requests.join()}],${JSON.stringify(this.errors)},${this.end}]\n`;
		this.clear();
		return message;
	}
}

const battles = new Map();

/** Let the simulator do something in a battle; its answer, as a line, or '' if it said nothing. */
function advance(id, action) {
	const stream = battles.get(id);
	if (!stream) return '';
	try {
		action(stream);
	} catch (error) {
		battles.delete(id);
		return JSON.stringify(['crash', id, String(error.stack || error)]) + '\n';
	}
	if (stream.end !== 'null') battles.delete(id);
	return stream.flush();
}

const commands = {
	format(name) {
		const format = Dex.formats.get(name);
		return JSON.stringify(['format', {
			exists: format.effectType === 'Format',
			id: format.id,
			singles: format.gameType === 'singles' && format.playerCount === 2,
			random_teams: !!format.team,
			gen: Dex.forFormat(format).gen,
		}]) + '\n';
	},
	validate(format, exports) {
		const validator = TeamValidator.get(format);
		return JSON.stringify(['validate', exports.map(text => {
			const team = Teams.import(text);
			if (!team || !team.length) return {packed: '', problems: ['it holds no Pokémon']};
			const problems = validator.validateTeam(team) || [];
			return {packed: Teams.pack(team), problems};
		})]) + '\n';
	},
	start(id, {format, seed, p1, p2}) {
		battles.set(id, new CollectingStream(id));
		return advance(id, stream => {
			stream._write(`>start ${JSON.stringify({formatid: format, seed})}`);
			stream._write(`>player p1 ${JSON.stringify(p1)}`);
			stream._write(`>player p2 ${JSON.stringify(p2)}`);
		});
	},
	choose(id, seat, choice) {
		return advance(id, stream => stream._write(`>${seat} ${choice}`));
	},
	drop(id) {
		battles.delete(id);
		return '';
	},
};

let rest = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', chunk => {
	const lines = (rest + chunk).split('\n');
	rest = lines.pop();
	let answer = '';
	for (const line of lines) {
		const [command, ...args] = JSON.parse(line);
		answer += commands[command](...args);
	}
	if (answer) process.stdout.write(answer);
});
process.stdin.on('end', () => process.exit(0));
process.stdout.on('error', () => process.exit(1));
process.on('SIGINT', () => {}); // Ctrl-C is the parent's business; it closes our input
