package demo

import (
	"math/rand/v2"
	"strings"
)

// language is what one group of customers writes in.
type language struct {
	code, country string
	separator     string
	stop          string // ends a sentence
	names         []string
	companies     []string
	words         []string
}

// Several scripts, right-to-left ones, combining marks, and characters outside
// the Basic Multilingual Plane: what a careless restore breaks first.
var languages = []language{
	{
		"en", "GB", " ", ". ",
		[]string{"Amelia Clarke", "Oliver O'Brien", "Priya Nair", "George Whitfield", "Zoë Hughes"},
		[]string{"Harbour & Sons Ltd", "Northgate Dental", "\"Quoted\" Media", "Back\\slash Systems"},
		strings.Fields("the printer on our second floor stopped again after update please advise invoice shows wrong total cannot log in password reset mail never arrives screen stays blank thanks for quick help server slow since Monday"),
	},
	{
		"de", "DE", " ", ". ",
		[]string{"Jürgen Weiß", "Anneliese Größing", "Björn Schäfer", "Käthe Müller-Lüdenscheidt"},
		[]string{"Straßenbau Köln GmbH", "Bäckerei Öztürk", "Füßli & Söhne KG"},
		strings.Fields("der Drucker meldet schon wieder Papierstau bitte um Rückruf die Rechnung enthält falsche Beträge Zugriff auf Überweisungen gesperrt Passwort läßt sich nicht ändern größere Störung im Büro vielen Dank für schnelle Unterstützung"),
	},
	{
		"fr", "FR", " ", " ; ",
		[]string{"Élodie Lefèvre", "François Garçon", "Noël Dœuff", "Anaïs L'Hôpital"},
		[]string{"Pâtisserie Chez Zoé", "Cœur d'Éclair SARL", "Maïs & Blé"},
		strings.Fields("le courriel n'arrive plus depuis hier soir écran noir après la mise à jour facture erronée où sont les pièces jointes reçu merci d'avance problème réglé à l'étage œuvre façade naïveté"),
	},
	{
		"el", "GR", " ", ". ",
		[]string{"Γιώργος Παπαδόπουλος", "Ελένη Αλεξίου", "Νίκος Καζαντζής"},
		[]string{"Αθήνα Ναυτιλιακή", "Φούρνος Η Γωνιά"},
		strings.Fields("ο εκτυπωτής δεν λειτουργεί από χθες παρακαλώ βοήθεια το τιμολόγιο είναι λάθος ξέχασα τον κωδικό ευχαριστώ πολύ σύνδεση αργή"),
	},
	{
		"ru", "KZ", " ", ". ",
		[]string{"Анна Сергеевна Ёлкина", "Дмитрий Щукин", "Ольга Юрьева"},
		[]string{"ООО «Рога и копыта»", "Завод Объёмных Изделий"},
		strings.Fields("принтер снова не печатает помогите пожалуйста счёт выставлен неверно не могу войти пароль забыт спасибо за быстрый ответ сервер работает медленно"),
	},
	{
		"ja", "JP", "", "。",
		[]string{"佐藤 花子", "鈴木 一郎", "髙橋 𠮷男", "渡邉 さくら"},
		[]string{"株式会社 東京工房", "大阪ラーメン㈱", "ﾊﾝｶｸ商店"},
		strings.Fields("プリンターが 動きません 昨日から 請求書の 金額が 間違って います パスワードを 忘れました よろしく お願い します ありがとう ございます 画面が 真っ白 です サーバーが 遅い 至急 対応を"),
	},
	{
		"zh", "TW", "", "。",
		[]string{"王小明", "陳美玲", "𡘙德華", "林志豪"},
		[]string{"臺北數位有限公司", "高雄港務", "龍𪚥茶行"},
		strings.Fields("印表機 又 壞了 請 協助 發票 金額 不對 無法 登入 系統 忘記 密碼 謝謝 您的 幫忙 伺服器 很慢 附件 打不開 昨天 開始"),
	},
	{
		"ar", "EG", " ", "، ",
		[]string{"أحمد عبد الله", "فاطمة الزهراء", "يوسف إبراهيم"},
		[]string{"شركة النيل للتجارة", "مكتبة الإسكندرية الصغيرة"},
		strings.Fields("الطابعة لا تعمل منذ أمس من فضلكم المساعدة الفاتورة غير صحيحة نسيت كلمة المرور شكرًا جزيلًا الخادم بطيء جدًّا الشاشة سوداء"),
	},
	{
		"he", "IL", " ", ". ",
		[]string{"נועה לוי", "יוסי כהן", "תמר בן־דוד"},
		[]string{"מאפיית השוק בע״מ"},
		strings.Fields("המדפסת לא עובדת מאתמול בבקשה עזרה החשבונית שגויה שכחתי סיסמה תודה רבה השרת איטי מאוד שָׁלוֹם"),
	},
	{
		"hi", "IN", " ", "। ",
		[]string{"आरव शर्मा", "दीया पटेल", "कृष्णा अय्यर"},
		[]string{"गंगा ट्रेडर्स", "मुंबई डिजिटल"},
		strings.Fields("प्रिंटर काम नहीं कर रहा है कृपया सहायता करें बिल गलत है पासवर्ड भूल गया धन्यवाद सर्वर बहुत धीमा है"),
	},
	{
		"th", "TH", "", " ",
		[]string{"สมชาย ใจดี", "กัญญา รัตนพงศ์"},
		[]string{"ร้านกาแฟเชียงใหม่"},
		strings.Fields("เครื่องพิมพ์ ไม่ทำงาน ตั้งแต่ เมื่อวาน กรุณา ช่วยด้วย ใบแจ้งหนี้ ผิด ลืม รหัสผ่าน ขอบคุณ มาก"),
	},
	{
		"ko", "KR", " ", ". ",
		[]string{"김민준", "이서연", "박지후"},
		[]string{"서울전자 주식회사", "부산수산"},
		strings.Fields("프린터가 작동하지 않습니다 어제부터 도와주세요 청구서 금액이 틀렸습니다 비밀번호를 잊었습니다 감사합니다 서버가 느립니다"),
	},
}

// Among them a family joined by zero-width joiners, a flag, a skin tone and
// combining accents.
var emoji = []string{"🙂", "🙏", "🔥", "👩‍👩‍👧‍👦", "🇺🇦", "👍🏽", "☕️", "💾", "🦄", "e\u0301", "𝔅𝔞𝔠𝔨", "🧯"}

var tagNames = []string{
	"printer", "invoice", "urgent 🔥", "Büro", "λογαριασμός", "пароль", "至急", "طابعة", "VIP", "vip-2", "follow-up", "won't fix",
	"100%", "under_score", "tab\tinside", "ＦＵＬＬ", "ﬁ ligature", "👩‍💻 remote",
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// pickLanguage prefers the first, as most customers are nearby.
func pickLanguage(r *rand.Rand) *language {
	if r.IntN(3) == 0 {
		return &languages[0]
	}
	return &languages[r.IntN(len(languages))]
}

// phrase writes n words.
func (l *language) phrase(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(l.separator)
		}
		b.WriteString(pick(r, l.words))
	}
	if r.IntN(6) == 0 {
		b.WriteString(" " + pick(r, emoji))
	}
	return b.String()
}

// letter writes a message of n sentences.
func (l *language) letter(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(l.phrase(r, 4+r.IntN(9)))
		b.WriteString(l.stop)
		if i%4 == 3 {
			b.WriteString("\r\n\r\n")
		}
	}
	switch r.IntN(40) {
	case 0:
		b.WriteString("\tC:\\Users\\Desktop\\new\\table.csv; it's \"broken\"\n-- ' OR 1=1; /* \\N */ \\")
	case 1:
		b.WriteString("\x00\x01\x1a control characters \u2028 \u200b")
	}
	return b.String()
}
